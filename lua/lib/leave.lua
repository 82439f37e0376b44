-- Gives up a place in the queue.
local function leave(ticket)
  if redis.call("ZREM", WAITING, ticket) == 1 then
    redis.call("HDEL", WAITERS, ticket)
    waiting = redis.call("ZCARD", WAITING)
    saw("waiting", waiting)
  end
end
