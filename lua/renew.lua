-- Prolongs a holder's leases, and settles what is due. A lease never becomes shorter. One with a greater fence than the
-- data knows of its port shows that the data is older than its grant: that begins a grace, and the lease is put back.
-- ARGV 1 boot clock  2 its time in ms  3 holder  4 network  5 its rest in ms  6 host  7 pid
--   then for each lease: port, lease_id, fence, ttl in ms, label
-- Reply {"RENEWED", now, number of ports that the holder holds here, number of ports settled, generation, then for each lease
--   its new expires_at, or how it ended, or "gone" when nothing is known of it any more, or "data_lost" when its grant is
--   forgotten and cannot be put back; port and record of each set aside}
-- @include "keys"
-- @include "int"
-- @include "wan"
-- @include "grant"
-- @include "iso"
local SETTLE, FIRST, FIELDS, network = 64, 8, 5, ARGV[4]
-- @include "reassert"
local answer, leased, ports, last, expires = {"RENEWED", now_ms, 0, 0, config[20]}, {}, {}, {}, {}
for i = FIRST, #ARGV, FIELDS do ports[#ports + 1] = ARGV[i] end
if #ports > 0 then
  last, expires = redis.call("HMGET", GRANTS, unpack(ports)), redis.call("ZMSCORE", LEASED, unpack(ports))
end
for i, port in ipairs(ports) do
  local asked_id, fence, ttl_ms, label = unpack(ARGV, FIRST + FIELDS * (i - 1) + 1, FIRST + FIELDS * i - 1)
  local expires_at, until_ms = tonumber(expires[i] or 0), now_ms + math.min(ttl_ms, max_ttl_ms)
  local lease_id, last_fence, _, _, _, was = read_grant(last[i])
  local mends = was == "unreadable" and expires_at > now_ms and redis.call("HGET", IDS, asked_id) == port -- it knows it
  local is_forgotten = was ~= "unreadable" and fence - (last_fence or 0) > 0
  local is_older = is_forgotten and (grace_ms > 0 or config[16] == "grace")
  local how = lease_id == asked_id and was or is_forgotten and "data_lost" or "gone"
  if (mends or is_older) and reassert(port, asked_id, fence, ARGV[5], until_ms, last[i]) then
    if grace_ms == 0 and is_older then begin_grace() end
    how, expires_at = "live", until_ms
  end
  if how == "live" and (expires_at > now_ms or grace_ms > 0) then
    expires_at = math.max(expires_at, until_ms)
    leased[#leased + 1], leased[#leased + 2] = expires_at, port
    answer[5 + i] = expires_at
    local lease, left_ms, text = LEASE .. port, expires_at - now_ms, iso(expires_at + ahead_ms)
    if redis.call("PEXPIRE", lease, left_ms) == 1 then
      redis.call("HSET", lease, "expires_at", text)
    else -- it was evicted: write what its holder and the grant know
      redis.call("HSET", lease, "lease_id", asked_id, "fence", fence, "holder", ARGV[3], "network", ARGV[4],
        "host", ARGV[6], "pid", ARGV[7], "label", label, "expires_at", text)
      redis.call("PEXPIRE", lease, left_ms)
    end
  else
    answer[5 + i] = how == "live" and "expired" or how
  end
end
if #leased > 0 then redis.call("ZADD", LEASED, "XX", unpack(leased)) end
-- @include "due"
if is_due then
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
  -- @include "settle"
  answer[4] = settle(SETTLE, answer)
end
if #leased > 0 or is_due then saw() end
answer[3] = redis.call("SCARD", HELD .. ARGV[3])
return answer
