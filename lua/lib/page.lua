-- A page of the live leases by expiry: port, expires_at, port, expires_at, ...; their ports; and their grants. `at` and `after`
-- are with which the page before ended, "" at first. Among equals the ports are in order, and those of the page before may
-- have left.
local function page_of(wan, at, after, most, within_ms)
  local function upto(score) return redis.call("ZCOUNT", key.leased, "-inf", score) end
  local start = upto(wan.grace_ms > 0 and 0 or int(wan.now_ms))
  local stop = within_ms == "" and math.huge or upto(int(wan.now_ms + within_ms))
  if at ~= "" then
    start = upto("(" .. at)
    local beyond = upto(at)
    while start < beyond do
      local middle = math.floor((start + beyond) / 2)
      if redis.call("ZRANGE", key.leased, middle, middle)[1] > after then beyond = middle else start = middle + 1 end
    end
  end
  stop = math.min(start + most, stop)
  local page = stop > start and redis.call("ZRANGE", key.leased, start, stop - 1, "WITHSCORES") or {}
  local ports = {}
  for i = 1, #page, 2 do ports[#ports + 1] = page[i] end
  return page, ports, #ports > 0 and redis.call("HMGET", key.grants, unpack(ports)) or {}
end
