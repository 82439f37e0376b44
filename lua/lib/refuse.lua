-- Says why nothing is granted, and gives the caller a place in the queue, or takes it; one whose network holds all that it
-- may stands aside, in nobody's way. Ends the script.
redis.call("HSET", CONFIG, "granted", int(granted))
if more then return {"MORE"} end
local is_capped = count < least
local free_at = not is_capped and forecast(all, mine) or nil
if till_ms then free_at = math.min(free_at or math.huge, till_ms) end
local back_ms = math.min(wait_ms or 0, math.max((free_at or math.huge) - now_ms, SOONEST_MS))
if wait_ms and not till_ms then
  local since = redis.call("ZSCORE", WAITING, ticket) or int(fence) -- the fence grows, whatever the clock does
  redis.call("HSET", WAITERS, ticket, network .. " " .. int(now_ms + back_ms) .. (is_plain and " plain" or ""))
  if is_capped then
    redis.call("ZREM", WAITING, ticket)
    redis.call("ZADD", CAPPED .. ":" .. network, since, ticket)
    redis.call("ZADD", CAPPED, now_ms + back_ms, ticket)
    if count > 0 and waiting > 0 then wake(network, math.huge, math.huge, "(" .. since) end -- that will do for another
  else
    redis.call("ZADD", WAITING, since, ticket)
  end
  saw("waiting", redis.call("HLEN", WAITERS))
elseif waiting > 0 then
  local its_network = leave(ticket)
  queue = nil -- the forecast may have looked at it, with this one in it
  if its_network then wake(its_network, now_ms, now_ms) end
end
if till_ms then return {"REJECTING", till_ms - now_ms, back_ms} end
if is_capped then return {"CAPPED", -1, back_ms, max_per_network} end
return {"EXHAUSTED", free_at and math.max(0, free_at - now_ms) or -1, back_ms,
  is_plain and redis.call("ZCOUNT", RESTING .. network, "-inf", now_ms) or 0}
