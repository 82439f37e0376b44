-- When a port is free for `network` by itself, at the latest; nil if nobody can tell.
local function forecast_port(port, network)
  local leased = redis.call("ZSCORE", key.leased, port)
  local text = redis.call("HGET", key.grants, port)
  if leased and text then
    local grant = ending(port, read_grant(text), tonumber(leased), "expired")
    return grant.grant.network == network and grant.rested_at or grant.grant.free_at
  end
  return tonumber(redis.call("ZSCORE", key.resting(network), port) or redis.call("ZSCORE", key.cooling, port) or nil)
end

-- The same for any port of the WAN, with so many waiters ahead in all and from the same network.
local function forecast(network, all, mine)
  local function nth(name, n)
    return redis.call("ZRANGEBYSCORE", name, "(" .. int(now_ms()), "+inf", "WITHSCORES", "LIMIT", n, 1)
  end
  local own, cooling, leased = nth(key.resting(network), mine), nth(key.cooling, all), nth(key.leased, all)
  local first = math.min(tonumber(own[2] or math.huge), tonumber(cooling[2] or math.huge))
  if leased[1] then first = math.min(first, forecast_port(leased[1], network) or math.huge) end
  return first < math.huge and first or nil
end
