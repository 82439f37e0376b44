-- Takes the wanted port, if the caller may have it: returns it, and until when it cools. Else nil, nil, and why not.
local function choose_wanted(wan, asked, more)
  local wanted, network, now_ms = asked.wanted, asked.network, wan.now_ms
  local rested_at = tonumber(redis.call("ZSCORE", key.resting .. network, wanted) or math.huge)
  if asked.is_plain then rested_at = plain_at(redis.call("HGET", key.grants, wanted), rested_at) end
  local cools_until = redis.call("ZSCORE", key.cooling, wanted)
  if rested_at <= now_ms and cools_until then
    redis.call("ZREM", key.cooling, wanted)
    redis.call("ZREM", key.resting .. network, wanted)
    return {wanted}, {[wanted] = cools_until}
  end
  if redis.call("SREM", key.free, wanted) == 1 then return {wanted}, {} end
  saw(wan)
  if more then return nil, nil, {"MORE"} end
  local place = "withheld"
  if redis.call("ZSCORE", key.leased, wanted) then
    place = "leased"
  elseif cools_until then
    place = "cooling"
  elseif redis.call("SISMEMBER", key.withheld, wanted) == 0 then
    return nil, nil, {"NOT_IN_RANGE"}
  end
  local free_at = forecast_port(wan, wanted, network, asked.is_plain)
  return nil, nil, {"UNAVAILABLE", place, free_at and math.max(0, free_at - now_ms) or -1}
end
