-- The network's own ports that plain sockets can have, at most `most`: of those of the last 65 s the first few that rested
-- most recently, then older ones, of which nothing can linger; and where free ones will not do, more of the first.
local FEW = 8
local function plain_ports(most)
  local found = {}
  local function add(ports, ats)
    for i, port in ipairs(ports) do
      if #found < most and not found[port] and (not ats or ats[i] <= now_ms) then
        found[#found + 1] = port
        found[port] = true
      end
    end
  end
  local function add_recent(count)
    add(plain_ats(redis.call("ZREVRANGEBYSCORE", RESTING .. network, now_ms, "(" .. int(now_ms - LINGER_MS), "WITHSCORES",
      "LIMIT", 0, count)))
  end
  add_recent(most + FEW)
  if #found < most then
    add(redis.call("ZREVRANGEBYSCORE", RESTING .. network, int(now_ms - LINGER_MS), "-inf", "LIMIT", 0, most))
  end
  if #found < most and redis.call("SCARD", FREE) < most then add_recent(most + WINDOW) end
  return found
end
