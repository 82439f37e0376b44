-- Puts a lease back that the data does not know, or in whose place it knows an earlier one, `before`. Whether its port
-- belongs to the WAN.
local function reassert(wan, port, lease_id, fence, network, rest_ms, expires_at, before)
  local ghost_id, _, its_network, _, free_at = read_grant(before)
  if redis.call("ZREM", key.leased, port) == 1 then -- of which the release is lost
    local holder, secret = string.match(ghost_id, "^(.*)/(.*)$")
    redis.call("HDEL", key.held .. holder, secret)
    redis.call("DEL", key.lease .. port)
    if wan.max_per_network > 0 then redis.call("HINCRBY", key.networks, its_network, -1) end
  elseif redis.call("ZREM", key.cooling, port) == 1 then
    if its_network then redis.call("ZREM", key.resting .. its_network, port) end
  elseif redis.call("SREM", key.withheld, port) == 1 then
    redis.call("HSET", key.leaving, port, "withheld")
    change(wan, "leaving", int(wan.leaving + 1))
  elseif redis.call("SREM", key.free, port) == 0 then
    return false
  end
  local holder, secret = string.match(lease_id, "^(.*)/(.*)$")
  wan.fence, wan.due_ms = math.max(wan.fence, fence), math.min(wan.due_ms, expires_at)
  redis.call("HSET", key.grants, "fence", int(wan.fence), port,
    lease_id .. " " .. fence .. " " .. network .. " " .. rest_ms .. " " .. (free_at or 0) .. " live")
  redis.call("ZADD", key.leased, expires_at, port)
  redis.call("HSET", key.held .. holder, secret, port)
  if wan.max_per_network > 0 then redis.call("HINCRBY", key.networks, network, 1) end
  return true
end
