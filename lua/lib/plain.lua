-- The network's own ports that a plain socket can have: those of which nothing lingers on its systems. What may linger, a
-- connection in TIME_WAIT, is over after 65 s.
local LINGER_MS = 65000
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
