-- The waiters of a WAN, first come first served. A waiter who missed the time it named is taken for dead.
local LATE_MS, IN_VIEW = 2000, 64
key.capped = key.prefix .. "capped"
local function is_dead(wan, waiter) return waiter.next_ms + LATE_MS < wan.now_ms end
-- The first of a queue: of `waiting`, or of those of a network that stand aside. Only those that came after `since` count
-- (a score, or "-inf").
local function first_of(name, since)
  local tickets, found = redis.call("ZRANGEBYSCORE", name, since, "+inf", "LIMIT", 0, IN_VIEW), {}
  if #tickets == 0 then return found end
  for i, text in ipairs(redis.call("HMGET", key.waiters, unpack(tickets))) do
    local network, next_ms, kind = string.match(text or "", "^(%S+) (%d+) ?(%l*)$")
    found[i] = {ticket = tickets[i], network = network, next_ms = tonumber(next_ms or 0), is_plain = kind == "plain"}
  end
  return found
end
local function in_view(wan)
  wan.queue = wan.queue or (wan.waiting > 0 and first_of(key.waiting, "-inf") or {})
  return wan.queue
end
