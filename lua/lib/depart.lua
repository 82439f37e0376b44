-- Takes a port that is not leased out of the WAN or its service, if an operator wants it to leave. A port that is taken
-- away cools first, and nobody takes it from its cooling. Returns whether it has left the WAN.
local function depart(wan, port, network)
  local wanted = redis.call("HGET", LEAVING, port)
  if not wanted then return false end
  if network then redis.call("ZREM", RESTING .. network, port) end
  if wanted == "withheld" then redis.call("ZREM", COOLING, port) end
  local was_free = redis.call("SREM", FREE, port) == 1
  if wanted == "removed" and not was_free then return false end
  if wanted == "withheld" then redis.call("SADD", WITHHELD, port) else redis.call("HDEL", GRANTS, port) end
  redis.call("HDEL", LEAVING, port)
  change(wan, "leaving", redis.call("HLEN", LEAVING))
  return wanted == "removed"
end
