-- Prolongs a holder's leases, and settles what is due. A lease never becomes shorter. One with a greater fence than the
-- data knows of its port shows that the data is older than its grant: that begins a grace, and the lease is put back.
-- ARGV 1 boot clock  2 its time in ms  3 holder  4 network  5 its rest in ms  6 host  7 pid
--   then for each lease: port, lease_id, fence, ttl in ms, label, and "idle" or "used" of a port that its holder keeps
--   between leases, else ""
-- Reply {"RENEWED", now, number of ports that the holder holds here, number of ports settled, generation, epoch, to a
--   holder that keeps ports 1 if others want them (somebody waits, or fewer than a tenth are free), else 0, then for each
--   lease its new expires_at, or how it ended, or "gone" when nothing is known of it any more, or "data_lost" when its grant
--   is forgotten and cannot be put back; port and record of each set aside}
-- @include "keys" "int" "grant" "wan" "server" "saw" "change" "events" "told" "queue" "wake" "depart" "equip" "clocks"
-- @include "finish" "settle" "due" "iso" "reassert" "prolong"
local SETTLE, FIRST, FIELDS, ANSWERS, rest_ms = 64, 8, 6, 7, ARGV[5]
local by = {holder = ARGV[3], network = ARGV[4], host = ARGV[6], pid = ARGV[7]}
local wan, refusal = open_wan(ARGV[1], ARGV[2])
refusal = refusal or look_at_server(wan)
if refusal then return refusal end
equip(wan)
local answer, ports, leased, last, expires = {"RENEWED", wan.now_ms, 0, 0, wan.generation, wan.epoch, 0}, {}, {}, {}, {}
for i = FIRST, #ARGV, FIELDS do ports[#ports + 1] = ARGV[i] end
if #ports > 0 then
  last, expires = redis.call("HMGET", key.grants, unpack(ports)), redis.call("ZMSCORE", key.leased, unpack(ports))
end
local keeps = #ports == 0 -- as a holder asks who only wants to know what it may keep
for i, port in ipairs(ports) do
  local asked_id, fence, ttl_ms, label, use = unpack(ARGV, FIRST + FIELDS * (i - 1) + 1, FIRST + FIELDS * i - 1)
  local expires_at, until_ms = tonumber(expires[i] or 0), wan.now_ms + math.min(ttl_ms, wan.max_ttl_ms)
  local lease_id, last_fence, _, _, _, was = read_grant(last[i])
  local secret = string.match(asked_id, "[^/]*$")
  local mends = was == "unreadable" and expires_at > wan.now_ms -- if it knows it
    and redis.call("HGET", key.held .. by.holder, secret) == port
  local is_forgotten = was ~= "unreadable" and fence - (last_fence or 0) > 0
  local is_older = is_forgotten and (wan.grace_ms > 0 or wan.on_failover == "grace")
  local how = lease_id == asked_id and was or is_forgotten and "data_lost" or "gone"
  if (mends or is_older) and reassert(wan, port, asked_id, fence, by.network, rest_ms, until_ms, last[i]) then
    if wan.grace_ms == 0 and is_older then begin_grace(wan) end
    how, expires_at = "live", until_ms
  end
  if how == "live" and (expires_at > wan.now_ms or wan.grace_ms > 0) then
    expires_at = math.max(expires_at, until_ms)
    leased[#leased + 1], leased[#leased + 2], answer[ANSWERS + i] = expires_at, port, expires_at
    keeps = prolong(wan, by, port, asked_id, fence, label, use, expires_at) or keeps
  else
    answer[ANSWERS + i] = how == "live" and "expired" or how
  end
end
if #leased > 0 then redis.call("ZADD", key.leased, "XX", unpack(leased)) end
local was_due = is_due(wan)
if was_due then answer[4] = settle(wan, SETTLE, answer) end
if #leased > 0 or was_due then saw(wan) end
answer[3] = redis.call("HLEN", key.held .. by.holder)
if keeps then
  local free = wan.waiting == 0 and redis.call("SCARD", key.free) or 0
  if wan.waiting > 0 or 9 * free < redis.call("ZCARD", key.leased) + redis.call("ZCARD", key.cooling) then answer[7] = 1 end
end
return answer
