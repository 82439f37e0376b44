-- Takes due ports on: expired leases into cooling, cooled ports into free; at most `limit` of each. Returns how many,
-- and whether more may be due.
local function settle(limit)
  local expired = redis.call("ZRANGEBYSCORE", LEASED, "-inf", now_ms, "WITHSCORES", "LIMIT", 0, limit)
  local cooled = redis.call("ZRANGEBYSCORE", COOLING, "-inf", now_ms, "LIMIT", 0, limit)
  for i = 1, #expired, 2 do
    local port = expired[i]
    finish(port, tonumber(expired[i + 1]), "expired", read_grant(redis.call("HGET", GRANTS, port)))
  end
  for _, port in ipairs(cooled) do
    local grant = redis.call("HGET", GRANTS, port)
    redis.call("ZREM", COOLING, port)
    if grant then redis.call("ZREM", RESTING .. string.match(grant, "^%S+ %d+ (%S+)"), port) end
    redis.call("SADD", FREE, port)
    if leaving > 0 then depart(port) end
  end
  return #expired / 2 + #cooled, #expired == 2 * limit or #cooled == limit
end
