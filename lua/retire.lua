-- Gives up the claim to check the lines of a namespace; the verdicts stay until they are too old.
-- ARGV 1 checker
-- Reply {"RETIRED"}
-- @include "namespace"
local claim = redis.call("HGET", key.health, "checker")
if claim and string.match(claim, "^%S+") == ARGV[1] then redis.call("HDEL", key.health, "checker") end
return {"RETIRED"}
