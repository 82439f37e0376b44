-- Counts the live waiters that stand before `ticket`: `all` of them, and `mine`, those of this network.
for _, waiter in ipairs(in_view()) do
  if waiter.ticket == ticket then break end
  if is_dead(waiter) then
    leave(waiter.ticket)
  else
    all = all + 1
    if waiter.network == network then mine = mine + 1 end
  end
end
all = math.max(all, redis.call("ZRANK", WAITING, ticket) or waiting)
