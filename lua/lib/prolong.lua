-- Writes of a lease that is prolonged, for people. `by` is who holds it. Whether its holder keeps it between leases.
local function prolong(wan, by, port, lease_id, fence, label, use, expires_at)
  local lease, left_ms, text = key.lease .. port, expires_at - wan.now_ms, iso(expires_at + wan.ahead_ms)
  if redis.call("PEXPIRE", lease, left_ms) == 1 then
    redis.call("HSET", lease, "expires_at", text)
  else -- it was evicted: write what its holder and the grant know
    redis.call("HSET", lease, "lease_id", lease_id, "fence", fence, "holder", by.holder, "network", by.network, "host", by.host,
      "pid", by.pid, "label", label, "expires_at", text)
    redis.call("PEXPIRE", lease, left_ms)
  end
  if use == "" then return false end
  redis.call("HSET", lease, "use", use)
  return true
end
