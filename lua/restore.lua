-- Puts withheld ports back into service, by way of a cool-down, since nobody knows who used them meanwhile.
-- ARGV 1 boot clock  2 its time in ms, then up to 1,000 ports
-- Reply {"RESTORED", for each port where it was: "withheld", "leased" (and was to be withheld), "free", "cooling"
--   or "" for no port of the WAN}
-- @include "keys"
-- @include "int"
-- @include "wan"
-- @include "grant"
-- @include "places"
local ports, reply = {unpack(ARGV, 3)}, {"RESTORED"}
for i, place in ipairs(places_of(ports)) do
  reply[1 + i] = place or ""
  if place == "withheld" then
    redis.call("SREM", WITHHELD, ports[i])
    local _, _, _, _, free_at = read_grant(redis.call("HGET", GRANTS, ports[i])) -- an earlier use may cool for longer
    redis.call("ZADD", COOLING, int(math.max(now_ms + cooldown_ms, tonumber(free_at or 0))), ports[i])
  elseif place == "leased" and redis.call("HGET", LEAVING, ports[i]) == "withheld" then
    redis.call("HDEL", LEAVING, ports[i])
  end
end
saw("leaving", redis.call("HLEN", LEAVING))
return reply
