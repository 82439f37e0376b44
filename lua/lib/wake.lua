-- Calls the first waiter who plans to come later than a port is there: at `mine_at` for `network`, else at `others_at`.
function wake(network, mine_at, others_at)
  for _, waiter in ipairs(in_view()) do
    local at = math.max(now_ms, waiter.network == network and mine_at or others_at)
    if waiter.next_ms > at + 1 and not is_dead(waiter) then
      waiter.next_ms = at
      local list = PREFIX .. "wake:" .. string.match(waiter.ticket, "^(.*)/")
      redis.call("HSET", WAITERS, waiter.ticket, waiter.network .. " " .. int(at))
      redis.call("LPUSH", list, waiter.ticket .. " " .. int(at - now_ms))
      redis.call("PEXPIRE", list, 10000)
      return
    end
  end
end
