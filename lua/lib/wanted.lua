-- Says why the wanted port is not available. Ends the script.
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
