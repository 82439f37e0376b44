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
