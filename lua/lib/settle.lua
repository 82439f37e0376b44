-- Takes a port out of service of which nobody knows any more who may use it, and adds it and its record to `told`.
local function set_aside(port, grant, told)
  local lease_id, network = unpack(redis.call("HMGET", LEASE .. port, "lease_id", "network"))
  local was_leased = redis.call("ZREM", LEASED, port) == 1
  redis.call("ZREM", COOLING, port)
  redis.call("SADD", WITHHELD, port)
  redis.call("DEL", LEASE .. port)
  if lease_id then
    redis.call("HDEL", IDS, lease_id)
    redis.call("SREM", HELD .. string.match(lease_id, "^(.-)/?[^/]*$"), port)
  end
  if was_leased and network and max_per_network > 0 then redis.call("HINCRBY", NETWORKS, network, -1) end
  if told then told[#told + 1], told[#told + 2] = port, grant or "" end
  redis.log(redis.LOG_WARNING, GRANTS .. " " .. port .. " cannot be read; the port is out of service")
end
-- Takes due ports on: expired leases into cooling, cooled ports into free; at most `limit` of each. Returns how many,
-- whether more may be due; `told`, if there is one, gets port and record of each that was set aside.
local function settle(limit, told)
  local expired = redis.call("ZRANGEBYSCORE", LEASED, "-inf", now_ms, "WITHSCORES", "LIMIT", 0, limit)
  local cooled = redis.call("ZRANGEBYSCORE", COOLING, "-inf", now_ms, "LIMIT", 0, limit)
  for i = 1, #expired, 2 do
    local port, grant = expired[i], redis.call("HGET", GRANTS, expired[i])
    local _, _, _, _, _, how = read_grant(grant)
    if how and how ~= "unreadable" then
      finish(port, tonumber(expired[i + 1]), "expired", read_grant(grant))
    else
      set_aside(port, grant, told)
    end
  end
  for _, port in ipairs(cooled) do
    local grant = redis.call("HGET", GRANTS, port)
    local _, _, network, _, _, how = read_grant(grant)
    if how == "unreadable" then
      set_aside(port, grant, told)
    else
      redis.call("ZREM", COOLING, port)
      if network then redis.call("ZREM", RESTING .. network, port) end
      redis.call("SADD", FREE, port)
      if leaving > 0 then depart(port) end
    end
  end
  return #expired / 2 + #cooled, #expired == 2 * limit or #cooled == limit
end
