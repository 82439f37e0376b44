-- Gives up a place in the queue.
local function leave(ticket)
  if redis.call("ZREM", key.waiting, ticket) == 1 then
    redis.call("HDEL", key.waiters, ticket)
    wan.waiting = redis.call("ZCARD", key.waiting)
    saw("waiting", wan.waiting)
  end
end
