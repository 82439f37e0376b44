-- Tells how many ports become free to all besides those that are, if running leases go on and nothing new is granted.
-- ARGV 1 boot clock  2 its time in ms, then for each look ahead how far, in ms
-- Reply {"OUTLOOK", how many ports are in quarantine, for each look ahead how many become free until then}
-- @include "keys"
-- @include "int"
-- @include "wan"
local due_ms = grace_ms > 0 and 0 or now_ms
local reply = {"OUTLOOK", redis.call("ZCOUNT", QUARANTINED, "(" .. int(now_ms), "+inf")}
for i = 3, #ARGV do
  local till_ms = now_ms + ARGV[i]
  local since_ms, upto_ms = now_ms - cooldown_ms, math.min(now_ms, till_ms - cooldown_ms)
  local expired = redis.call("ZCOUNT", LEASED, "(" .. int(since_ms), int(math.min(due_ms, upto_ms)))
  reply[i] = redis.call("ZCOUNT", COOLING, "(" .. int(due_ms), int(till_ms)) + expired
end
return reply
