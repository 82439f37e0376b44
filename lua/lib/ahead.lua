-- Counts the waiters that stand before `ticket`: all of them, those of this network, and apart, for a socket with
-- SO_REUSEADDR, those of this network that cannot have each port that it can, `plain_ahead`. Forgets the dead, whose
-- calls go on to the next; also a few of those aside, that stand in nobody's way. A waiter that stood aside is judged at
-- the place that it had when it came.
local function count_ahead(wan, ticket, network, is_plain)
  local dead, mine, plain_ahead = {}, 0, 0
  admit(wan, ticket, network)
  for _, waiter in ipairs(in_view(wan)) do
    if waiter.ticket == ticket then break end
    if is_dead(wan, waiter) then
      leave(wan, waiter.ticket)
      dead[#dead + 1] = waiter.network or ""
    end
  end
  if #dead > 0 then
    wan.queue = nil
    for _, its_network in ipairs(dead) do wake(wan, its_network, wan.now_ms, wan.now_ms) end
    wan.queue = nil
  end
  for _, waiter in ipairs(in_view(wan)) do
    if waiter.ticket == ticket then break end
    if waiter.network == network then -- others take free ones
      if waiter.is_plain and not is_plain then plain_ahead = plain_ahead + 1 else mine = mine + 1 end
    end
  end
  local all = redis.call("ZRANK", key.waiting, ticket) or redis.call("ZCARD", key.waiting)
  if wan.max_per_network > 0 then
    local late = redis.call("ZRANGEBYSCORE", key.capped, "-inf", wan.now_ms - LATE_MS, "LIMIT", 0, 8)
    for _, its_ticket in ipairs(late) do leave(wan, its_ticket) end
  end
  return all, mine, plain_ahead
end
