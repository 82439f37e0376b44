-- Prolongs a holder's leases, and settles what is due. A lease never becomes shorter.
-- ARGV 1 holder  2 network  3 host  4 pid, then for each lease: port, lease_id, fence, ttl in ms, label
-- Reply {"RENEWED", now, number of ports that the holder holds here, number of ports settled, then for each lease
--   its new expires_at, or the word for how it ended}
-- @include "keys"
-- @include "int"
-- @include "wan"
-- @include "grant"
-- @include "queue"
-- @include "wake"
-- @include "finish"
-- @include "settle"
-- @include "verdict"
-- @include "iso"
local SETTLE, FIRST, FIELDS = 64, 5, 5
local asked = {}
for i = FIRST, #ARGV, FIELDS do
  asked[#asked + 1] = {port = ARGV[i], lease_id = ARGV[i + 1], fence = ARGV[i + 2],
    ttl_ms = math.min(ARGV[i + 3], wan.max_ttl_ms), label = ARGV[i + 4]}
end
local reply, leased = {"RENEWED", now_ms(), 0, 0}, {}
judge(asked)
for i, lease in ipairs(asked) do
  if lease.live then
    local expires_at = math.max(lease.expires_at, now_ms() + lease.ttl_ms)
    leased[#leased + 1], leased[#leased + 2] = int(expires_at), lease.port
    reply[4 + i] = expires_at
    local name = key.lease(lease.port)
    if redis.call("PEXPIRE", name, int(expires_at - now_ms())) == 1 then
      redis.call("HSET", name, "expires_at", iso(expires_at))
    else -- it was evicted: write what its holder and the grant know
      redis.call("HSET", name, "lease_id", lease.lease_id, "fence", lease.fence, "holder", ARGV[1], "network", ARGV[2],
        "host", ARGV[3], "pid", ARGV[4], "label", lease.label, "expires_at", iso(expires_at))
      redis.call("PEXPIRE", name, int(expires_at - now_ms()))
    end
  else
    reply[4 + i] = lease.how
  end
end
if #leased > 0 then redis.call("ZADD", key.leased, "XX", unpack(leased)) end
reply[4] = settle(SETTLE)
if #leased > 0 or reply[4] > 0 then saw() end
reply[3] = redis.call("SCARD", key.held(ARGV[1]))
return reply
