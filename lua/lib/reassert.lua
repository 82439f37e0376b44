-- Puts a lease back that the data does not know, or in whose place it knows an earlier one, `before`. Whether its port
-- belongs to the WAN.
local function reassert(wan, port, lease_id, fence, network, rest_ms, expires_at, before)
  local ghost_id, _, its_network, _, free_at = read_grant(before)
  if redis.call("ZREM", LEASED, port) == 1 then -- of which the release is lost
    local holder, secret = string.match(ghost_id, "^(.*)/(.*)$")
    redis.call("HDEL", HELD .. holder, secret)
    redis.call("DEL", LEASE .. port)
    if wan.max_per_network > 0 then redis.call("HINCRBY", NETWORKS, its_network, -1) end
  elseif redis.call("ZREM", COOLING, port) == 1 then
    if its_network then redis.call("ZREM", RESTING .. its_network, port) end
  elseif redis.call("SREM", WITHHELD, port) == 1 then
    redis.call("HSET", LEAVING, port, "withheld")
    change(wan, "leaving", int(wan.leaving + 1))
  elseif redis.call("SREM", FREE, port) == 0 then
    return false
  end
  local holder, secret = string.match(lease_id, "^(.*)/(.*)$")
  wan.fence, wan.due_ms = math.max(wan.fence, fence), math.min(wan.due_ms, expires_at)
  redis.call("HSET", GRANTS, "fence", int(wan.fence), port,
    lease_id .. " " .. fence .. " " .. network .. " " .. rest_ms .. " " .. (free_at or 0) .. " live")
  redis.call("ZADD", LEASED, expires_at, port)
  redis.call("HSET", HELD .. holder, secret, port)
  if wan.max_per_network > 0 then redis.call("HINCRBY", NETWORKS, network, 1) end
  return true
end
