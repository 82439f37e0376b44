-- Counts a refusal, tells of it once a second at most, and returns the reply.
local REASONS = {EXHAUSTED = "exhausted", CAPPED = "capped", REJECTING = "rejecting", UNAVAILABLE = "unavailable",
  DRAINING = "draining", GRACE = "grace"}
local function refused(wan, asked, reply)
  local reason = REASONS[reply[1]]
  if not reason then return reply end
  redis.pcall("HINCRBY", key.prefix .. "counters", "refused:" .. reason, 1)
  local second = math.floor(wan.now_ms / 1000)
  if redis.call("HGET", key.grants, "refused_s") ~= int(second) then
    redis.pcall("HSET", key.grants, "refused_s", int(second))
    tell("refused", 1, {asked.wanted ~= "" and asked.wanted or nil}, "holder", asked.holder, "host", asked.host,
      "label", asked.label, "network", asked.network, "why", reason)
  end
  return reply
end
-- Says why nothing is granted, and gives the caller a place in the queue, or takes it; one whose network holds all that it
-- may stands aside, in nobody's way. `count` ports are what it may have at most; `till_ms` is until when it gets no free one.
local SOONEST_MS = 10
local function refuse(wan, asked, count, all, mine, till_ms)
  local now_ms, network, ticket, wait_ms, is_plain = wan.now_ms, asked.network, asked.ticket, asked.wait_ms, asked.is_plain
  local is_capped = count < asked.least
  local free_at = not is_capped and forecast(wan, network, is_plain, all, mine) or nil
  if till_ms then free_at = math.min(free_at or math.huge, till_ms) end
  local back_ms = math.min(wait_ms or 0, math.max((free_at or math.huge) - now_ms, SOONEST_MS))
  if wait_ms and not till_ms then
    wan.fence = math.max(wan.server_us, wan.fence + 1)
    local since = redis.call("ZSCORE", key.waiting, ticket) or int(wan.fence) -- the fence grows, whatever the clock does
    redis.call("HSET", key.grants, "fence", int(wan.fence))
    redis.call("HSET", key.waiters, ticket, network .. " " .. int(now_ms + back_ms) .. (is_plain and " plain" or ""))
    if is_capped then
      redis.call("ZREM", key.waiting, ticket)
      redis.call("ZADD", key.capped .. ":" .. network, since, ticket)
      redis.call("ZADD", key.capped, now_ms + back_ms, ticket)
      if count > 0 and wan.waiting > 0 then wake(wan, network, math.huge, math.huge, "(" .. since) end -- it will do for another
    else
      redis.call("ZADD", key.waiting, since, ticket)
    end
    count_waiting(wan, redis.call("HLEN", key.waiters))
  elseif wan.waiting > 0 then
    local its_network = leave(wan, ticket)
    wan.queue = nil -- the forecast may have looked at it, with this one in it
    if its_network then wake(wan, its_network, now_ms, now_ms) end
  end
  saw(wan)
  if till_ms then return refused(wan, asked, {"REJECTING", till_ms - now_ms, back_ms}) end
  if is_capped then return refused(wan, asked, {"CAPPED", -1, back_ms, wan.max_per_network}) end
  return refused(wan, asked, {"EXHAUSTED", free_at and math.max(0, free_at - now_ms) or -1, back_ms,
    is_plain and redis.call("ZCOUNT", key.resting .. network, "-inf", now_ms) or 0})
end
