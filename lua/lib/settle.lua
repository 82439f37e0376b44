-- Takes due ports on: expired leases into cooling, cooled ports into free; at most `limit` of each.
local function settle(limit)
  local due = redis.call("ZRANGEBYSCORE", key.leased, "-inf", int(now_ms()), "WITHSCORES", "LIMIT", 0, limit)
  local expired = {}
  for i = 1, #due, 2 do expired[#expired + 1] = due[i] end
  if #expired > 0 then
    local grants = redis.call("HMGET", key.grants, unpack(expired))
    local endings = {}
    for i, port in ipairs(expired) do
      endings[i] = ending(port, read_grant(grants[i]), tonumber(due[2 * i]), "expired")
    end
    finish(endings)
  end
  local cooled = redis.call("ZRANGEBYSCORE", key.cooling, "-inf", int(now_ms()), "LIMIT", 0, limit)
  if #cooled > 0 then
    local resting = {}
    for i, text in ipairs(redis.call("HMGET", key.grants, unpack(cooled))) do
      if text then add_to(resting, read_grant(text).network, cooled[i]) end
    end
    redis.call("ZREM", key.cooling, unpack(cooled))
    for network, ports in pairs(resting) do redis.call("ZREM", key.resting(network), unpack(ports)) end
    redis.call("SADD", key.free, unpack(cooled))
  end
  return #expired + #cooled, #expired == limit or #cooled == limit
end
