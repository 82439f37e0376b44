-- Standing in the queue.
-- How many live waiters stand before `ticket`: of all networks, and of this one.
local function ahead_of(ticket, network)
  if wan.waiting == 0 then return 0, 0 end
  local all, mine = 0, 0
  for _, waiter in ipairs(in_view()) do
    if waiter.ticket == ticket then return all, mine end
    if is_dead(waiter) then
      leave(waiter.ticket)
    else
      all = all + 1
      if waiter.network == network then mine = mine + 1 end
    end
  end
  return math.max(all, (redis.call("ZRANK", key.waiting, ticket) or wan.waiting)), mine
end

-- When ports are there and kept for those ahead: the time at which the first of these is dead or has taken its port.
local function kept_until(network, all)
  if all == 0 then return math.huge end
  if redis.call("SCARD", key.free) + redis.call("ZCOUNT", key.resting(network), "-inf", int(now_ms())) == 0 then
    return math.huge
  end
  local first = in_view()[1]
  return first and math.max(first.next_ms + LATE_MS, now_ms()) + 1 or math.huge
end

local function enqueue(ticket, network, next_ms)
  redis.call("ZADD", key.waiting, "NX", int(time[1] * 1000000 + time[2]), ticket)
  redis.call("HSET", key.waiters, ticket, network .. " " .. int(next_ms))
  saw("waiting", redis.call("ZCARD", key.waiting))
end
