-- Writes down who a holder is, and that it lives; forgets some of those who have not said so for a day.
-- ARGV 1 holder  2 host  3 boot id  4 PID namespace  5 pid  6 start time  7 program name
--   8 "reaps" if it looks after the dead, or "-"
-- Reply {"REGISTERED"}
-- @include "namespace" "neighbours" "forget" "int"
local DAY_MS, SOME = 24 * 3600 * 1000, 10
local time = redis.call("TIME")
local seen_ms = int(time[1] * 1000 + math.floor(time[2] / 1000))
local beside = neighbours(ARGV[3], ARGV[4])
redis.call("HSET", key.holders, ARGV[1],
  table.concat({ARGV[2], ARGV[3], ARGV[4], ARGV[5], ARGV[6], seen_ms, ARGV[7], ARGV[8]}, " "))
redis.call("ZADD", beside, 0, ARGV[1])
redis.call("PEXPIRE", beside, 2 * DAY_MS)
for _, holder in ipairs(redis.call("HRANDFIELD", key.holders, SOME)) do
  local record = redis.call("HGET", key.holders, holder)
  local boot_id, pid_namespace, last_ms = string.match(record, "^%S+ (%S+) (%S+) %S+ %S+ (%d+) ")
  if not last_ms or seen_ms - last_ms > DAY_MS then forget(holder, boot_id or "", pid_namespace or "") end
end
return {"REGISTERED"}
