-- Gives a WAN other ports, a bounded number a call: first those to have, then those to lose. A port that is lost while
-- it is leased or cools leaves when it has cooled; what is due is settled first, a port for each that is given.
-- ARGV 1 boot clock  2 its time in ms
--   3 the WAN's ports from now on, a list like 20000-21999,23000  4 how many ports that is
--   5 "have" or "lose", then up to 1,000 ports
-- Reply {"RESIZED", how many ports are still to leave}  {"GRACE", ms until it can be done, when that is}
-- @include "keys"
-- @include "int"
-- @include "wan"
-- @include "grace"
-- @include "grant"
local depart, wake
-- @include "depart"
if waiting > 0 then
  -- @include "queue"
  -- @include "wake"
end
-- @include "clocks"
-- @include "finish"
-- @include "settle"
-- @include "places"
local ports, new = {unpack(ARGV, 6)}, {}
settle(#ports) -- or the ports of a WAN in which nothing goes on would never leave
for i, place in ipairs(#ports > 0 and places_of(ports) or {}) do
  local port = ports[i]
  if ARGV[5] == "have" then
    if not place then new[#new + 1] = port end
    if redis.call("HGET", LEAVING, port) == "removed" then redis.call("HDEL", LEAVING, port) end
  elseif place then
    redis.call("HSET", LEAVING, port, "removed")
    leaving = leaving + 1
    if place == "withheld" then
      redis.call("SREM", WITHHELD, port)
      redis.call("SADD", FREE, port)
    end
    if place ~= "leased" then depart(port) end
  end
end
if #new > 0 then redis.call("SADD", FREE, unpack(new)) end
leaving = redis.call("HLEN", LEAVING)
saw("ports", ARGV[3], "total", ARGV[4], "leaving", leaving)
return {"RESIZED", leaving}
