-- Gives back leases whose port the holder's OS refused: nobody gets such a port during the quarantine, nor during the
-- cool-down if it was used before. A network whose share of the quarantine is full puts no more into it: these leases
-- end as others do.
-- ARGV 1 boot clock  2 its time in ms  3 network  4 host  5 why, for people  6 "used" or ""
--   then for each lease: port or "", lease_id
-- Reply {"REJECTED", now, for each lease how it ended, now or before, "gone" when nothing is known of it any more,
--   or "unsure" when a grace lasts: its grant may be lost, and a renewal will tell}
-- @include "keys"
-- @include "int"
-- @include "wan"
-- @include "grant"
local depart, wake
if leaving > 0 then
  -- @include "depart"
end
if waiting > 0 then
  -- @include "queue"
  -- @include "wake"
end
-- @include "clocks"
-- @include "finish"
local by, host, why, used = ARGV[3], ARGV[4], ARGV[5], ARGV[6] == "used"
-- @include "rejecting"
-- @include "iso"
local first, step, unknown, answer = 7, 2, grace_ms > 0 and "unsure" or "gone", {"REJECTED", now_ms}
local ids, ended = {}, {}
for i = first + 1, #ARGV, step do ids[#ids + 1] = ARGV[i] end
local ports = redis.call("HMGET", IDS, unpack(ids))
redis.call("ZREMRANGEBYSCORE", REJECTED .. by, "-inf", now_ms - quarantine_ms)
redis.call("ZREMRANGEBYSCORE", QUARANTINED, "-inf", now_ms)
local of_all = math.max(1, math.floor(in_service * 3 / 4)) -- a quarter is left to the others, however many networks reject
local room = math.min(most - redis.call("ZCARD", REJECTED .. by), of_all - redis.call("ZCARD", QUARANTINED))
local function how(lease_id, rest_ms, free_at)
  ended[lease_id] = true
  room = room - 1
  if room < 0 then return used and "released" or "lingers", free_at end
  return "rejected", used and math.max(free_at, now_ms + math.max(cooldown_ms, rest_ms)) or free_at
end
-- @include "end_asked"
for i, lease_id in ipairs(ids) do
  if ended[lease_id] then
    redis.call("ZADD", REJECTED .. by, now_ms, ports[i])
    if answer[2 + i] == "rejected" then
      local free_at, about = redis.call("ZSCORE", COOLING, ports[i]) or int(now_ms), QUARANTINE .. ports[i]
      redis.call("ZADD", QUARANTINED, free_at, ports[i])
      redis.call("PEXPIRE", QUARANTINED, math.max(free_at - now_ms, redis.call("PTTL", QUARANTINED), 1))
      redis.call("HSET", about, "reason", why, "host", host, "network", by, "lease_id", lease_id,
        "rejected_at", iso(now_ms + ahead_ms), "free_at", iso(free_at + ahead_ms))
      redis.call("PEXPIRE", about, math.max(free_at - now_ms, 1))
    end
  end
end
if has_ended then
  redis.call("PEXPIRE", REJECTED .. by, math.max(quarantine_ms, 1))
  local till_ms = rejecting_until(by)
  if till_ms then saw("rejects_until", int(math.max(till_ms, tonumber(config[13] or 0)))) else saw() end
end
return answer
