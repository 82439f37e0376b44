-- Notes how many wait.
local function count_waiting(wan, waiting)
  local was = wan.waiting
  if waiting == was then return end
  change(wan, "waiting", waiting)
  if (was == 0) ~= (waiting == 0) then next_epoch(wan) end
end
-- Gives up a place. Returns the waiter's network if it was in the queue; nil if it stood aside, and so had nothing that
-- another could have.
local function leave(wan, ticket)
  local stood_in = redis.call("ZREM", key.waiting, ticket) == 1
  if not stood_in and (wan.max_per_network == 0 or redis.call("ZREM", key.capped, ticket) == 0) then return nil end
  local network = string.match(redis.call("HGET", key.waiters, ticket) or "", "^%S+")
  redis.call("HDEL", key.waiters, ticket)
  if not stood_in and network then redis.call("ZREM", key.capped .. ":" .. network, ticket) end
  count_waiting(wan, redis.call("HLEN", key.waiters))
  return stood_in and network or nil
end
