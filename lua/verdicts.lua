-- Tells what the health check found of each WAN, and who checks.
-- Reply {"VERDICTS", the server's time in ms, then all that is in the hash: field, value, ...}
-- @include "namespace"
local time = redis.call("TIME")
local reply = {"VERDICTS", time[1] * 1000 + math.floor(time[2] / 1000)}
for _, item in ipairs(redis.call("HGETALL", key.health)) do reply[#reply + 1] = item end
return reply
