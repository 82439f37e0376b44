-- Tells how many ports become free to all besides those that are, if running leases go on and nothing new is granted.
-- ARGV 1 boot clock  2 its time in ms  3 network, then for each look ahead how far, in ms
-- Reply {"OUTLOOK", how many ports are in quarantine, how many rested ones of the network its plain sockets cannot have yet,
--   of the 1,000 that rested last, for each look ahead how many become free until then}
-- @include "keys" "int" "grant" "wan" "server" "plain"
local wan, refusal = open_wan(ARGV[1], ARGV[2])
refusal = refusal or look_at_server(wan)
if refusal then return refusal end
local quarantined, network, LOOK, late = key.prefix .. "quarantined", ARGV[3], 1000, 0
local since_ms = int(wan.now_ms - LINGER_MS)
local _, ats = plain_ats(redis.call("ZREVRANGEBYSCORE", key.resting .. network, wan.now_ms, since_ms, "WITHSCORES", "LIMIT", 0,
  LOOK))
for _, at in ipairs(ats) do
  if at > wan.now_ms then late = late + 1 end
end
local due_ms = wan.grace_ms > 0 and 0 or wan.now_ms
local reply = {"OUTLOOK", redis.call("ZCOUNT", quarantined, "(" .. int(wan.now_ms), "+inf"), late}
for i = 4, #ARGV do
  local till_ms = wan.now_ms + ARGV[i]
  local after_ms, upto_ms = wan.now_ms - wan.cooldown_ms, math.min(wan.now_ms, till_ms - wan.cooldown_ms)
  local expired = redis.call("ZCOUNT", key.leased, "(" .. int(after_ms), int(math.min(due_ms, upto_ms)))
  reply[i] = redis.call("ZCOUNT", key.cooling, "(" .. int(due_ms), int(till_ms)) + expired
end
return reply
