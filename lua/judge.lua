-- Keeps the claim to check the lines of a namespace, which one checker has at a time, and writes down what it found.
-- ARGV 1 checker  2 its interval in ms, then for each WAN: its number, "up" or "down", its round trip in ms or "-", why
-- Reply {"CHECKS"}  {"STANDBY", the checker that has the claim, for how many ms it is its own without another word}
-- @include "namespace" "int" "iso"
local CLAIM_LASTS, FRESH = 1.5, 3 -- intervals: who takes over has written before the verdicts are too old
local checker, interval_ms = ARGV[1], tonumber(ARGV[2])
local time = redis.call("TIME")
local now_ms = time[1] * 1000 + math.floor(time[2] / 1000)
local claim = redis.call("HGET", key.health, "checker")
if claim then
  local other, until_ms, its_interval_ms = string.match(claim, "^(%S+) (%d+) (%d+)$")
  local left_ms = (until_ms or 0) - now_ms
  -- one that lasts longer was made before the clock of the server went back
  if other ~= checker and left_ms > 0 and left_ms <= CLAIM_LASTS * its_interval_ms then return {"STANDBY", other, left_ms} end
end
local fields = {"checker", table.concat({checker, int(now_ms + CLAIM_LASTS * interval_ms), ARGV[2]}, " ")}
for i = 3, #ARGV, 4 do
  local wan_idx, state, round_trip, why = unpack(ARGV, i, i + 3)
  if redis.call("HGET", key.wans, wan_idx) then
    local since, before = iso(now_ms), redis.call("HGET", key.health, wan_idx) or ""
    local was, its_since, at_ms, its_interval_ms = string.match(before, "^(%S+) (%S+) (%d+) (%d+) ")
    if was == state and math.abs(now_ms - at_ms) <= FRESH * its_interval_ms then since = its_since end
    fields[#fields + 1] = wan_idx
    fields[#fields + 1] = table.concat({state, since, int(now_ms), ARGV[2], round_trip, checker, why}, " ")
  end
end
redis.call("HSET", key.health, unpack(fields))
return {"CHECKS"}
