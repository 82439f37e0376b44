-- Puts a lease back that the data does not know, or in whose place it knows an earlier one, `before`. Whether its port
-- belongs to the WAN.
local function reassert(port, lease_id, fence, rest_ms, expires_at, before)
  local ghost_id, _, its_network, _, free_at = read_grant(before)
  if redis.call("ZREM", LEASED, port) == 1 then -- of which the release is lost
    redis.call("HDEL", IDS, ghost_id)
    redis.call("SREM", HELD .. string.match(ghost_id, "^(.*)/"), port)
    redis.call("DEL", LEASE .. port)
    if max_per_network > 0 then redis.call("HINCRBY", NETWORKS, its_network, -1) end
  elseif redis.call("ZREM", COOLING, port) == 1 then
    if its_network then redis.call("ZREM", RESTING .. its_network, port) end
  elseif redis.call("SREM", WITHHELD, port) == 1 then
    redis.call("HSET", LEAVING, port, "withheld")
    leaving = leaving + 1
    redis.call("HSET", CONFIG, "leaving", leaving)
  elseif redis.call("SREM", FREE, port) == 0 then
    return false
  end
  config[6] = math.max(config[6], fence)
  redis.call("HSET", CONFIG, "fence", int(config[6]))
  redis.call("HSET", GRANTS, port,
    lease_id .. " " .. fence .. " " .. network .. " " .. rest_ms .. " " .. (free_at or 0) .. " live")
  redis.call("ZADD", LEASED, expires_at, port)
  redis.call("HSET", IDS, lease_id, port)
  redis.call("SADD", HELD .. string.match(lease_id, "^(.*)/"), port)
  if max_per_network > 0 then redis.call("HINCRBY", NETWORKS, network, 1) end
  return true
end
