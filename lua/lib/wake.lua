-- Calls the first waiter who plans to come later than a port is there: at `mine_at` for `network`, else at `others_at`;
-- and the first of `network` that was capped, for it may have one more port now, whichever.
function wake(network, mine_at, others_at)
  local is_room = true
  for _, waiter in ipairs(in_view()) do
    local at = waiter.network == network and mine_at or others_at
    if waiter.is_capped then at = waiter.network == network and is_room and now_ms or math.huge end
    at = math.max(now_ms, at)
    if waiter.next_ms > at + 1 and not is_dead(waiter) then
      waiter.next_ms = at
      local list = PREFIX .. "wake:" .. string.match(waiter.ticket, "^(.*)/")
      redis.call("HSET", WAITERS, waiter.ticket, waiter.network .. " " .. int(at) .. waiter.rest)
      redis.call("LPUSH", list, waiter.ticket .. " " .. int(at - now_ms))
      redis.call("PEXPIRE", list, 10000)
      if not waiter.is_capped then return end
      is_room = false
    end
  end
end
