-- Takes ports out of service; a leased one when its lease ends.
-- ARGV 1 boot clock  2 its time in ms  3 who says so, for people, then up to 1,000 ports
-- Reply {"WITHHELD", for each port where it was: "free", "cooling", "leased" or "withheld"
--   or "" for no port of the WAN}  {"GRACE", ms until it can be done, when that is}
-- @include "keys" "int" "wan" "server" "saw" "change" "epoch" "events" "grace" "grant" "depart" "places"
local wan, refusal = open_wan(ARGV[1], ARGV[2])
refusal = refusal or look_at_server(wan)
refusal = refusal or in_grace(wan)
if refusal then return refusal end
local ports, reply, taken = {unpack(ARGV, 4)}, {"WITHHELD"}, {}
for i, place in ipairs(places_of(ports)) do
  local port = ports[i]
  reply[1 + i] = place or ""
  if place and place ~= "withheld" and redis.call("HGET", key.leaving, port) ~= "removed" then
    redis.call("HSET", key.leaving, port, "withheld")
    taken[#taken + 1] = port
    local _, _, network = read_grant(redis.call("HGET", key.grants, port))
    if place ~= "leased" then depart(wan, port, network) end
  end
end
change(wan, "leaving", redis.call("HLEN", key.leaving))
if #taken > 0 then
  next_epoch(wan)
  tell("withheld", #taken, taken, "who", ARGV[3])
end
saw(wan)
return reply
