-- The waiters of a WAN, first come first served. A waiter who missed the time it named is taken for dead. One whose
-- network holds all that it may is capped: no free port is kept for it.
local LATE_MS, IN_VIEW = 2000, 64
local queue
local function in_view()
  if queue then return queue end
  queue = {}
  local tickets = waiting > 0 and redis.call("ZRANGE", WAITING, 0, IN_VIEW - 1) or queue
  if #tickets == 0 then return queue end
  for i, text in ipairs(redis.call("HMGET", WAITERS, unpack(tickets))) do
    local network, next_ms, rest = string.match(text or "", "^(%S+) (%d+)(.*)$")
    queue[i] = {ticket = tickets[i], network = network, next_ms = tonumber(next_ms or 0), rest = rest or ""}
    queue[i].is_capped = rest == " capped"
  end
  return queue
end
local function is_dead(waiter) return waiter.next_ms + LATE_MS < now_ms end
