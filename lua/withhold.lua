-- Takes ports out of service; a leased one when its lease ends.
-- ARGV 1 boot clock  2 its time in ms, then up to 1,000 ports
-- Reply {"WITHHELD", for each port where it was: "free", "cooling", "leased" or "withheld"
--   or "" for no port of the WAN}  {"GRACE", ms until it can be done, when that is}
-- @include "keys"
-- @include "int"
-- @include "wan"
-- @include "grace"
-- @include "grant"
local depart
-- @include "depart"
-- @include "places"
local ports, reply = {unpack(ARGV, 3)}, {"WITHHELD"}
for i, place in ipairs(places_of(ports)) do
  reply[1 + i] = place or ""
  if place and place ~= "withheld" and redis.call("HGET", LEAVING, ports[i]) ~= "removed" then
    redis.call("HSET", LEAVING, ports[i], "withheld")
    leaving = leaving + 1
    if place ~= "leased" then depart(ports[i]) end
  end
end
saw("leaving", redis.call("HLEN", LEAVING))
return reply
