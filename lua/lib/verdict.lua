-- Whether each asked lease {port, lease_id} still stands, and how it ended if not. `grants` decides.
local function judge(asked)
  if #asked == 0 then return end
  local ports = {}
  for i, lease in ipairs(asked) do ports[i] = lease.port end
  local grants = redis.call("HMGET", key.grants, unpack(ports))
  local expires = redis.call("ZMSCORE", key.leased, unpack(ports))
  for i, lease in ipairs(asked) do
    local grant = grants[i] and read_grant(grants[i])
    lease.expires_at = tonumber(expires[i] or 0)
    lease.how = "expired" -- also when the port has another lease by now: it was settled before
    if grant and grant.lease_id == lease.lease_id then
      lease.grant = grant
      lease.live = grant.how == "live" and lease.expires_at > now_ms()
      if grant.how ~= "live" then lease.how = grant.how end
    end
  end
end
