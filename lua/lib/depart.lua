-- Takes a port that is not leased out of the WAN or its service, if an operator wants it to leave. A port that is taken
-- away cools first, and nobody takes it from its cooling. Returns whether it has left the WAN.
local function depart(wan, port, network)
  local wanted = redis.call("HGET", key.leaving, port)
  if not wanted then return false end
  if network then redis.call("ZREM", key.resting .. network, port) end
  if wanted == "withheld" then redis.call("ZREM", key.cooling, port) end
  local was_free = redis.call("SREM", key.free, port) == 1
  if wanted == "removed" and not was_free then return false end
  if wanted == "withheld" then redis.call("SADD", key.withheld, port) else redis.call("HDEL", key.grants, port) end
  redis.call("HDEL", key.leaving, port)
  change(wan, "leaving", redis.call("HLEN", key.leaving))
  return wanted == "removed"
end
