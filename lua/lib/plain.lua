-- The network's own ports that a plain socket can have: those of which nothing lingers on its systems. What may linger, a
-- connection in TIME_WAIT, is over after 65 s.
local LINGER_MS, WINDOW = 65000, 64
local function plain_at(grant, rested_at)
  local _, _, _, rest_ms, _, how, is_plain = read_grant(grant or "")
  if not how or is_plain == "plain" then return rested_at end
  if how == "unused" or how == "drained" then rest_ms = 0 end -- it has not rested
  return rested_at - rest_ms + math.max(rest_ms, LINGER_MS)
end
-- The same of ports in a list of port, rested_at, port, rested_at, ...
local function plain_ats(rested)
  local ports, ats = {}, {}
  for i = 1, #rested, 2 do ports[#ports + 1] = rested[i] end
  if #ports == 0 then return ports, ats end
  for i, grant in ipairs(redis.call("HMGET", GRANTS, unpack(ports))) do
    ats[i] = plain_at(grant, tonumber(rested[2 * i]))
  end
  return ports, ats
end
-- Those that rested most recently, as far as a window sees, then those that ended before anything could linger.
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
