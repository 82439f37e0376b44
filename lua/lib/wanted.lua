-- Takes the wanted port, if the caller may have it. Else says why not, and ends the script.
local rested_at = tonumber(redis.call("ZSCORE", RESTING .. network, wanted) or math.huge)
if is_plain then rested_at = plain_at(redis.call("HGET", GRANTS, wanted), rested_at) end
cools_until[wanted] = redis.call("ZSCORE", COOLING, wanted)
if rested_at <= now_ms and cools_until[wanted] then
  ports[1] = wanted
elseif redis.call("SREM", FREE, wanted) == 1 then
  ports[1] = wanted
else
  redis.call("HSET", CONFIG, "granted", int(granted))
  if more then return {"MORE"} end
  local place = "withheld"
  if redis.call("ZSCORE", LEASED, wanted) then
    place = "leased"
  elseif redis.call("ZSCORE", COOLING, wanted) then
    place = "cooling"
  elseif redis.call("SISMEMBER", WITHHELD, wanted) == 0 then
    return {"NOT_IN_RANGE"}
  end
  local free_at = forecast_port(wanted)
  return {"UNAVAILABLE", place, free_at and math.max(0, free_at - now_ms) or -1}
end
