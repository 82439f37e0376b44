-- Gives back leases whose port the holder's OS refused: nobody gets such a port during the quarantine, nor during the
-- cool-down if it was used before. A network whose share of the quarantine is full puts no more into it: these leases
-- end as others do.
-- ARGV 1 boot clock  2 its time in ms  3 network  4 host  5 why, for people  6 "used" or ""
--   then for each lease: port or "", lease_id
-- Reply {"REJECTED", now, for each lease how it ended, now or before, "gone" when nothing is known of it any more,
--   or "unsure" when a grace lasts: its grant may be lost, and a renewal will tell}
-- @include "keys" "int" "grant" "wan" "server" "saw" "change" "events" "told" "queue" "wake" "depart" "equip" "clocks"
-- @include "finish" "end_asked" "rejecting" "iso"
local FIRST, network, host, why, used, ports, ids = 7, ARGV[3], ARGV[4], ARGV[5], ARGV[6] == "used", {}, {}
for i = FIRST, #ARGV, 2 do ports[#ports + 1], ids[#ids + 1] = ARGV[i], ARGV[i + 1] end
local opened = {open_wan(ARGV[1], ARGV[2], unpack(ports))}
local wan, refusal = opened[1], opened[2]
refusal = refusal or look_at_server(wan)
if refusal then return refusal end
equip(wan)
local rejected, answer, now_ms = key.rejected .. network, {"REJECTED", wan.now_ms}, wan.now_ms
local most, in_service = quarantine_of(wan)
redis.call("ZREMRANGEBYSCORE", rejected, "-inf", now_ms - wan.quarantine_ms)
redis.call("ZREMRANGEBYSCORE", key.quarantined, "-inf", now_ms)
local of_all = math.max(1, math.floor(in_service * 3 / 4)) -- a quarter is left to the others, however many networks reject
local room = math.min(most - redis.call("ZCARD", rejected), of_all - redis.call("ZCARD", key.quarantined))
local function how(_, rest_ms, free_at)
  room = room - 1
  if room < 0 then return used and "released" or "lingers", free_at end
  return "rejected", used and math.max(free_at, now_ms + math.max(wan.cooldown_ms, rest_ms)) or free_at
end
local ended = end_asked(wan, ports, ids, {unpack(opened, 3, 2 + #ports)}, nil, wan.grace_ms > 0 and "unsure" or "gone",
  answer, how)
for i, lease_id in ipairs(ids) do
  local port = ended[lease_id]
  if port then
    redis.call("ZADD", rejected, now_ms, port)
    if answer[2 + i] == "rejected" then
      local free_at, about = redis.call("ZSCORE", key.cooling, port) or int(now_ms), key.quarantine .. port
      redis.call("ZADD", key.quarantined, free_at, port)
      redis.call("PEXPIRE", key.quarantined, math.max(free_at - now_ms, redis.call("PTTL", key.quarantined), 1))
      redis.call("HSET", about, "reason", why, "host", host, "network", network, "lease_id", lease_id,
        "rejected_at", iso(now_ms + wan.ahead_ms), "free_at", iso(free_at + wan.ahead_ms))
      redis.call("PEXPIRE", about, math.max(free_at - now_ms, 1))
    end
  end
end
if #ended > 0 then
  redis.call("PEXPIRE", rejected, math.max(wan.quarantine_ms, 1))
  local till_ms = rejecting_until(wan, network)
  if till_ms then change(wan, "rejects_until", int(math.max(till_ms, wan.rejects_until))) end
  tell_ended(wan, "rejected", "why", why)
  saw(wan)
end
return answer
