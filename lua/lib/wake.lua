-- Lets one that stands aside into the queue, to the place that it had when it came. Whether it stood aside.
local function admit(wan, ticket, network)
  local since = wan.max_per_network > 0 and redis.call("ZSCORE", key.capped .. ":" .. network, ticket)
  if not since then return false end
  redis.call("ZREM", key.capped .. ":" .. network, ticket)
  redis.call("ZREM", key.capped, ticket)
  redis.call("ZADD", key.waiting, since, ticket)
  return true
end
local function call(wan, waiter, at)
  waiter.next_ms = at
  local list = key.prefix .. "wake:" .. string.match(waiter.ticket, "^(.*)/")
  redis.call("HSET", key.waiters, waiter.ticket, waiter.network .. " " .. int(at) .. (waiter.is_plain and " plain" or ""))
  redis.call("LPUSH", list, waiter.ticket .. " " .. int(at - wan.now_ms))
  redis.call("PEXPIRE", list, 10000)
end
-- Tells whom a port may serve that `network` may have from `mine_at` on, its plain sockets from `plain_at` on, and the
-- others from `others_at` on: the first waiter that plans to come later than that. And the first of those of `network`
-- that stand aside and came after `since` is let into the queue, for the network may have one more port now, whichever.
local function wake(wan, network, mine_at, others_at, since, plain_at)
  for _, waiter in ipairs(in_view(wan)) do
    local at = waiter.network ~= network and others_at or waiter.is_plain and plain_at or mine_at
    at = math.max(wan.now_ms, at)
    if waiter.next_ms > at + 1 and not is_dead(wan, waiter) then
      call(wan, waiter, at)
      break
    end
  end
  if wan.max_per_network == 0 then return end
  wan.aside = wan.aside or {}
  local first = wan.aside[network]
  if not first or #first == 0 then first = first_of(key.capped .. ":" .. network, since or "-inf") end
  wan.aside[network] = first
  while #first > 0 do
    local waiter = table.remove(first, 1)
    if not is_dead(wan, waiter) and admit(wan, waiter.ticket, network) then
      call(wan, waiter, wan.now_ms)
      break
    end
  end
end
