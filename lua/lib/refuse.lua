-- Says why nothing is granted, and gives the caller a place in the queue, or takes it. Ends the script.
if more then return {"MORE"} end
local is_capped = count < least
local free_at = not is_capped and forecast(all, mine) or nil
if till_ms then free_at = math.min(free_at or math.huge, till_ms) end
local back_ms = math.min(wait_ms or 0, math.max((free_at or math.huge) - now_ms, SOONEST_MS))
if wait_ms and not till_ms then
  redis.call("ZADD", WAITING, "NX", fence, ticket) -- the fence grows with each acquire, whatever the clock does
  redis.call("HSET", WAITERS, ticket, network .. " " .. int(now_ms + back_ms) .. (is_capped and " capped" or ""))
  saw("waiting", redis.call("ZCARD", WAITING))
elseif waiting > 0 then
  leave(ticket)
end
if till_ms then return {"REJECTING", till_ms - now_ms, back_ms} end
if is_capped then return {"CAPPED", -1, back_ms, max_per_network} end
return {"EXHAUSTED", free_at and math.max(0, free_at - now_ms) or -1, back_ms}
