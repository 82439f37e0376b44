-- Counts the waiters that stand before `ticket`: `all` of them, `mine`, those of this network, and apart, for a socket with
-- SO_REUSEADDR, `plain_ahead`: those of this network that cannot have each port that it can. Forgets the dead, whose
-- calls go on to the next; also a few of those aside, that stand in nobody's way. A waiter that stood aside is judged at
-- the place that it had when it came.
admit(ticket, network)
local dead = {}
for _, waiter in ipairs(in_view()) do
  if waiter.ticket == ticket then break end
  if is_dead(waiter) then
    leave(waiter.ticket)
    dead[#dead + 1] = waiter.network or ""
  end
end
if #dead > 0 then
  queue = nil
  for _, its_network in ipairs(dead) do wake(its_network, now_ms, now_ms) end
  queue = nil
end
for _, waiter in ipairs(in_view()) do
  if waiter.ticket == ticket then break end
  if waiter.network == network then -- others take free ones
    if waiter.is_plain and not is_plain then plain_ahead = plain_ahead + 1 else mine = mine + 1 end
  end
end
all = redis.call("ZRANK", WAITING, ticket) or redis.call("ZCARD", WAITING)
if max_per_network > 0 then
  local late = redis.call("ZRANGEBYSCORE", CAPPED, "-inf", now_ms - LATE_MS, "LIMIT", 0, 8)
  for _, its_ticket in ipairs(late) do leave(its_ticket) end
end
