-- Ends a lease: its port goes where it belongs, by a first write that a full Redis allows.
local function finish(port, ended_at, how, lease_id, fence, network, rest_ms, earlier_free_at)
  local rested_at, free_at = two_clocks(ended_at, how, tonumber(rest_ms), tonumber(earlier_free_at))
  redis.call("ZREM", LEASED, port)
  redis.call("DEL", LEASE .. port)
  redis.call("HDEL", IDS, lease_id)
  redis.call("SREM", HELD .. string.match(lease_id, "^(.*)/"), port)
  redis.call("HSET", GRANTS, port,
    lease_id .. " " .. fence .. " " .. network .. " " .. rest_ms .. " " .. int(free_at) .. " " .. how)
  if free_at <= now_ms then
    redis.call("SADD", FREE, port)
  else
    redis.call("ZADD", COOLING, free_at, port)
    if rested_at then redis.call("ZADD", RESTING .. network, rested_at, port) end
  end
  if max_per_network > 0 then redis.call("HINCRBY", NETWORKS, network, -1) end
  if leaving > 0 then depart(port) end
  if waiting > 0 then wake(network, rested_at or free_at, free_at) end
end
