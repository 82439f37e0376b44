-- Gives a WAN other ports, a bounded number a call: first those to have, then those to lose. A port that is lost while
-- it is leased or cools leaves when it has cooled; what is due is settled first, a port for each that is given.
-- ARGV 1 boot clock  2 its time in ms
--   3 the WAN's ports from now on, a list like 20000-21999,23000  4 how many ports that is  5 who says so, for people
--   6 "have" or "lose", then up to 1,000 ports
-- Reply {"RESIZED", how many ports are still to leave}  {"GRACE", ms until it can be done, when that is}
-- @include "keys" "int" "wan" "server" "saw" "change" "epoch" "events" "told" "grace" "grant" "queue" "wake" "depart" "equip"
-- @include "clocks" "finish" "settle" "places"
local wan, refusal = open_wan(ARGV[1], ARGV[2])
refusal = refusal or look_at_server(wan)
refusal = refusal or in_grace(wan)
if refusal then return refusal end
equip(wan)
local ports, new, lost = {unpack(ARGV, 7)}, {}, {}
settle(wan, #ports) -- or the ports of a WAN in which nothing goes on would never leave
saw(wan)
for i, place in ipairs(#ports > 0 and places_of(ports) or {}) do
  local port = ports[i]
  if ARGV[6] == "have" then
    if not place then new[#new + 1] = port end
    if redis.call("HGET", key.leaving, port) == "removed" then redis.call("HDEL", key.leaving, port) end
  elseif place then
    redis.call("HSET", key.leaving, port, "removed")
    lost[#lost + 1] = port
    if place == "withheld" then
      redis.call("SREM", key.withheld, port)
      redis.call("SADD", key.free, port)
    end
    local _, _, network = read_grant(redis.call("HGET", key.grants, port))
    if place ~= "leased" then depart(wan, port, network) end
  end
end
if #new > 0 then redis.call("SADD", key.free, unpack(new)) end
change(wan, "ports", ARGV[3], "total", ARGV[4], "leaving", redis.call("HLEN", key.leaving))
next_epoch(wan)
if #new + #lost > 0 then
  tell("resized", #new + #lost, #new > 0 and new or lost, "who", ARGV[5], "why", ARGV[6] .. " " .. ARGV[3])
end
saw(wan)
return {"RESIZED", wan.leaving}
