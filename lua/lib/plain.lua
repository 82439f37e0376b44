-- The network's own ports that a plain socket can have: those of which nothing lingers on its systems. What may linger, a
-- connection in TIME_WAIT, is over after 65 s.
local LINGER_MS, WINDOW, FEW = 65000, 64, 8
local function plain_at(grant, rested_at)
  local _, _, _, rest_ms, _, how, is_plain = read_grant(grant)
  if not how or is_plain == "plain" then return rested_at end
  if how == "unused" or how == "drained" then rest_ms = 0 end -- it has not rested
  return rested_at - rest_ms + math.max(rest_ms, LINGER_MS)
end
-- The same of ports in a list of port, rested_at, port, rested_at, ...
local function plain_ats(rested)
  local ports, ats = {}, {}
  for i = 1, #rested, 2 do ports[#ports + 1] = rested[i] end
  if #ports == 0 then return ports, ats end
  for i, grant in ipairs(redis.call("HMGET", key.grants, unpack(ports))) do
    ats[i] = plain_at(grant, tonumber(rested[2 * i]))
  end
  return ports, ats
end
-- The first ports that plain sockets can have, at most `most`: of those of the last 65 s the first few that rested most
-- recently, then older ones, of which nothing can linger; and where free ones will not do, more of the first.
local function plain_ports(wan, network, most)
  local found, own, now_ms = {}, key.resting .. network, wan.now_ms
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
