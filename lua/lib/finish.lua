-- Ends a lease: its port goes where it belongs, by a first write that a full Redis allows.
-- Returns how it ended, in the word that is kept.
local SEEN_PLAIN = {clean = true, reset = true, time_wait = true}
local function finish(port, ended_at, how, lease_id, fence, network, rest_ms, earlier_free_at, _, kind)
  local was_plain = kind == "plain"
  local rested_at, free_at = two_clocks(ended_at, how, tonumber(rest_ms), tonumber(earlier_free_at), was_plain)
  local is_plain = SEEN_PLAIN[how] or was_plain and (how == "unused" or how == "drained" or UNSEEN[how])
  local word = (how == "clean" or how == "unseen") and "released" or how == "lingers" and "unused" or how
  redis.call("ZREM", LEASED, port)
  redis.call("DEL", LEASE .. port)
  redis.call("HDEL", IDS, lease_id)
  redis.call("SREM", HELD .. string.match(lease_id, "^(.*)/"), port)
  redis.call("HSET", GRANTS, port, lease_id .. " " .. fence .. " " .. network .. " " .. rest_ms .. " " .. int(free_at)
    .. " " .. word .. (is_plain and " plain" or ""))
  if free_at <= now_ms then
    redis.call("SADD", FREE, port)
  else
    redis.call("ZADD", COOLING, free_at, port)
    if rested_at then redis.call("ZADD", RESTING .. network, rested_at, port) end
  end
  if max_per_network > 0 then redis.call("HINCRBY", NETWORKS, network, -1) end
  if leaving > 0 then depart(port) end
  if waiting > 0 then
    local plain_at = rested_at and (is_plain and rested_at or rested_at + TIME_WAIT_MS) or free_at
    wake(network, rested_at or free_at, free_at, nil, math.min(plain_at, free_at))
  end
  return word
end
