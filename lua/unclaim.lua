-- Gives up a WAN's claim to its ports, and its verdict, when its data is gone; with the last one, all of the namespace.
-- ARGV 1 wan_idx  2 the generation that the claim must have
-- Reply {"UNCLAIMED", how many WANs are left}  {"DIFFERENT"} it is another one's, or there is none
-- @include "namespace"
local claim = redis.call("HGET", key.wans, ARGV[1])
if not claim or string.match(claim, "^%S+ (%S+)") ~= ARGV[2] then return {"DIFFERENT"} end
redis.call("HDEL", key.wans, ARGV[1])
redis.call("HDEL", key.health, ARGV[1])
local left = redis.call("HLEN", key.wans)
if left == 0 then redis.call("DEL", key.holders, key.health) end
return {"UNCLAIMED", left}
