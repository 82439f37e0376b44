-- Writes down who a holder is.
-- ARGV 1 holder  2 host  3 boot id  4 PID namespace  5 pid  6 start time in clock ticks since boot  7 program name
-- Reply {"REGISTERED"}
-- @include "namespace"
-- @include "int"
local time = redis.call("TIME")
local seen_ms = int(time[1] * 1000 + math.floor(time[2] / 1000))
redis.call("HSET", key.holders, ARGV[1],
  table.concat({ARGV[2], ARGV[3], ARGV[4], ARGV[5], ARGV[6], seen_ms, ARGV[7]}, " "))
return {"REGISTERED"}
