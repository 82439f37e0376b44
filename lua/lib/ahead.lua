-- Counts the live waiters that stand before `ticket` and are not capped: `all` of them, and `mine`, those of this network.
local beside = 0
for _, waiter in ipairs(in_view()) do
  if waiter.ticket == ticket then break end
  if is_dead(waiter) then
    leave(waiter.ticket)
  elseif waiter.is_capped then
    beside = beside + 1
  else
    all = all + 1
    if waiter.network == network then mine = mine + 1 end
  end
end
all = math.max(all, (redis.call("ZRANK", WAITING, ticket) or waiting) - beside)
