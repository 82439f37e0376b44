-- The waiters of a WAN, first come first served. A waiter who missed the time it named is taken for dead.
local LATE_MS, IN_VIEW = 2000, 64
local queue
local function in_view()
  if queue then return queue end
  queue = {}
  if wan.waiting == 0 then return queue end
  local tickets = redis.call("ZRANGE", key.waiting, 0, IN_VIEW - 1)
  if #tickets == 0 then return queue end
  local plans = redis.call("HMGET", key.waiters, unpack(tickets))
  for i, ticket in ipairs(tickets) do
    local network, next_ms = string.match(plans[i] or "", "^(%S+) (%d+)$")
    queue[i] = {ticket = ticket, network = network, next_ms = tonumber(next_ms or 0)}
  end
  return queue
end
local function is_dead(waiter) return waiter.next_ms + LATE_MS < now_ms() end
