-- When a port is free for `network` without a release, at the latest; nil if nobody can tell.
local function forecast_port(port)
  local expires_at, grant = redis.call("ZSCORE", LEASED, port), redis.call("HGET", GRANTS, port)
  if expires_at and grant then
    local _, _, its_network, rest_ms, earlier_free_at = read_grant(grant)
    local rested_at, free_at = two_clocks(tonumber(expires_at), "expired", tonumber(rest_ms), tonumber(earlier_free_at))
    return its_network == network and rested_at or free_at
  end
  return tonumber(redis.call("ZSCORE", RESTING .. network, port) or redis.call("ZSCORE", COOLING, port) or nil)
end

-- The same for any port of the WAN, with `ahead` waiters before this one, `ahead_of_mine` of them of the same network.
local function forecast(ahead, ahead_of_mine)
  local function nth(name, n)
    return redis.call("ZRANGEBYSCORE", name, "(" .. int(now_ms), "+inf", "WITHSCORES", "LIMIT", n, 1)
  end
  local rested, cooled, expired = nth(RESTING .. network, ahead_of_mine), nth(COOLING, ahead), nth(LEASED, ahead)
  local first = math.min(tonumber(rested[2] or math.huge), tonumber(cooled[2] or math.huge))
  if expired[1] then first = math.min(first, forecast_port(expired[1]) or math.huge) end
  if ahead > 0 and redis.call("SCARD", FREE) + redis.call("ZCOUNT", RESTING .. network, "-inf", now_ms) > 0 then
    -- ports are there, and kept for those ahead: until the first of these is dead or has taken its port
    local waiter = in_view()[1]
    if waiter then first = math.min(first, math.max(waiter.next_ms + LATE_MS, now_ms) + 1) end
  end
  return first < math.huge and first or nil
end
