-- Gives back leases whose port the holder's OS refused: nobody gets such a port during the quarantine. A network that
-- rejects more than 50 a minute, and more than a tenth of the WAN, puts no more into it: these leases end unused.
-- ARGV 1 boot clock  2 its time in ms  3 network  4 host  5 why, for people, then for each lease: port or "", lease_id
-- Reply {"REJECTED", now, for each lease how it ended, now or before, or "gone" when nothing is known of it any more}
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
local by, host, why = ARGV[3], ARGV[4], ARGV[5]
-- @include "rejecting"
-- @include "iso"
local first, step, answer, ids = 6, 2, {"REJECTED", now_ms}, {}
local how = rejecting_until(by) and "unused" or "rejected"
for i = first + 1, #ARGV, step do ids[#ids + 1] = ARGV[i] end
local ports = redis.call("HMGET", IDS, unpack(ids))
-- @include "end_asked"
if has_ended then
  local quarantine_ms, rejected = tonumber(redis.call("HGET", CONFIG, "quarantine_ms")), REJECTED .. by
  redis.call("ZREMRANGEBYSCORE", rejected, "-inf", now_ms - PATIENCE_MS)
  for i = 1, #ids do
    if ports[i] and answer[2 + i] == "rejected" then
      redis.call("ZADD", rejected, now_ms, ports[i])
      local about = QUARANTINE .. ports[i]
      redis.call("HSET", about, "reason", why, "host", host, "network", by, "lease_id", ids[i],
        "rejected_at", iso(now_ms + ahead_ms), "free_at", iso(now_ms + ahead_ms + quarantine_ms))
      redis.call("PEXPIRE", about, math.max(quarantine_ms, 1))
    end
  end
  redis.call("PEXPIRE", rejected, PATIENCE_MS)
  local till_ms = rejecting_until(by)
  if till_ms then saw("rejects_until", int(math.max(till_ms, tonumber(config[13] or 0)))) else saw() end
end
return answer
