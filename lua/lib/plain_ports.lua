-- The first ports that plain sockets can have, at most `most`: of those of the last 65 s the first few that rested most
-- recently, then older ones, of which nothing can linger; and where free ones will not do, more of the first.
local function plain_ports(wan, network, most)
  local FEW, WINDOW, found, own, now_ms = 8, 64, {}, key.resting .. network, wan.now_ms
  local function add(ports, ats)
    for i, port in ipairs(ports) do
      if #found < most and not found[port] and (not ats or ats[i] <= now_ms) then
        found[#found + 1] = port
        found[port] = true
      end
    end
  end
  local function add_recent(count)
    local since = "(" .. int(now_ms - LINGER_MS)
    add(plain_ats(redis.call("ZREVRANGEBYSCORE", own, now_ms, since, "WITHSCORES", "LIMIT", 0, count)))
  end
  add_recent(most + FEW)
  if #found < most then add(redis.call("ZREVRANGEBYSCORE", own, int(now_ms - LINGER_MS), "-inf", "LIMIT", 0, most)) end
  if #found < most and redis.call("SCARD", key.free) < most then add_recent(most + WINDOW) end
  return found
end
