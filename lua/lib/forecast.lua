-- When a port is free for `network` without a release, at the latest; nil if nobody can tell.
local function forecast_port(wan, port, network, is_plain)
  local expires_at, grant = redis.call("ZSCORE", key.leased, port), redis.call("HGET", key.grants, port)
  if expires_at and grant then
    local _, _, its_network, rest_ms, earlier_free_at, _, kind = read_grant(grant)
    local rested_at, free_at = two_clocks(wan, tonumber(expires_at), "expired", tonumber(rest_ms),
      tonumber(earlier_free_at), kind == "plain")
    if is_plain and kind ~= "plain" then rested_at = rested_at + LINGER_MS end
    return its_network == network and math.min(rested_at, free_at) or free_at
  end
  local rested_at, free_at = redis.call("ZSCORE", key.resting .. network, port), redis.call("ZSCORE", key.cooling, port)
  if not rested_at then return tonumber(free_at or nil) end
  return math.min(is_plain and plain_at(grant, tonumber(rested_at)) or tonumber(rested_at), tonumber(free_at))
end
-- The same for any port of the WAN, with `ahead` waiters before this one, `ahead_of_mine` of them of the same network.
local function forecast(wan, network, is_plain, ahead, ahead_of_mine)
  local now_ms, own = wan.now_ms, key.resting .. network
  local function nth(name, n)
    return redis.call("ZRANGEBYSCORE", name, "(" .. int(now_ms), "+inf", "WITHSCORES", "LIMIT", n, 1)
  end
  local function nth_plain(n)
    local WINDOW, since, later = 64, "(" .. int(now_ms - LINGER_MS), {}
    local _, ats = plain_ats(redis.call("ZRANGEBYSCORE", own, since, "+inf", "WITHSCORES", "LIMIT", 0, n + WINDOW))
    for _, at in ipairs(ats) do
      if at > now_ms then later[#later + 1] = at end
    end
    table.sort(later)
    return {nil, later[n + 1]}
  end
  local rested = is_plain and nth_plain(ahead_of_mine) or nth(own, ahead_of_mine)
  local cooled, expired = nth(key.cooling, ahead), nth(key.leased, ahead)
  local first = math.min(tonumber(rested[2] or math.huge), tonumber(cooled[2] or math.huge))
  if expired[1] then first = math.min(first, forecast_port(wan, expired[1], network, is_plain) or math.huge) end
  if ahead > 0 and redis.call("SCARD", key.free) + redis.call("ZCOUNT", own, "-inf", now_ms) > 0 then
    -- ports are there, and kept for those ahead: until the first of these is dead or has taken its port
    local waiter = in_view(wan)[1]
    if waiter then first = math.min(first, math.max(waiter.next_ms + LATE_MS, now_ms) + 1) end
  end
  return first < math.huge and first or nil
end
