-- Of the ports that plain sockets can have those that rested most recently, as far as a window sees, then those that
-- ended before anything could linger.
local function plain_ports(most)
  local found = {}
  for _, till_ms in ipairs({now_ms, now_ms - LINGER_MS}) do
    local ports, ats = plain_ats(redis.call("ZREVRANGEBYSCORE", RESTING .. network, till_ms, "-inf", "WITHSCORES",
      "LIMIT", 0, most + WINDOW))
    for i, port in ipairs(ports) do
      if #found < most and not found[port] and ats[i] <= now_ms then
        found[#found + 1] = port
        found[port] = true
      end
    end
  end
  return found
end
