-- The network's own rested ports that nobody ahead needs, until when they cool, and how many free ones will do besides. Some
-- that plain sockets can have are left to those ahead, or are the choice of a caller that has such a socket.
local function choose(wan, asked, count, all, mine, plain_ahead, avoid)
  local ports, cools_until, fresh, kept = {}, {}, 0, {}
  if asked.is_plain or plain_ahead > 0 then
    kept = plain_ports(wan, asked.network, asked.is_plain and count + mine + #avoid or plain_ahead)
  end
  if asked.is_plain then
    ports = kept
  else
    for _, port in ipairs(kept) do
      if not avoid[port] then avoid[#avoid + 1], avoid[port] = port, true end
    end
    ports = redis.call("ZREVRANGEBYSCORE", key.resting .. asked.network, wan.now_ms, "-inf", "LIMIT", 0, count + mine + #avoid)
  end
  if #ports > 0 then
    local rested = {}
    for i, until_ms in ipairs(redis.call("ZMSCORE", key.cooling, unpack(ports))) do
      local port = ports[i]
      cools_until[port] = until_ms -- none of those that were set aside, whose networks nobody knows
      if until_ms and not avoid[port] then rested[#rested + 1] = port end
    end
    ports = {unpack(rested, 1, math.max(0, math.min(count, #rested - mine)))}
  end
  if #ports < count then
    fresh = redis.call("SCARD", key.free) - all
    if #avoid > 0 then
      for _, is_free in ipairs(redis.call("SMISMEMBER", key.free, unpack(avoid))) do fresh = fresh - is_free end
    end
    fresh = math.max(0, math.min(fresh, count - #ports))
  end
  return ports, cools_until, fresh
end
-- Takes the wanted port, if the caller may have it: returns it, and until when it cools. Else nil, nil, and why not.
local function choose_wanted(wan, asked, more)
  local wanted, network, now_ms = asked.wanted, asked.network, wan.now_ms
  local rested_at = tonumber(redis.call("ZSCORE", key.resting .. network, wanted) or math.huge)
  if asked.is_plain then rested_at = plain_at(redis.call("HGET", key.grants, wanted), rested_at) end
  local cools_until = redis.call("ZSCORE", key.cooling, wanted)
  if rested_at <= now_ms and cools_until then
    redis.call("ZREM", key.cooling, wanted)
    redis.call("ZREM", key.resting .. network, wanted)
    return {wanted}, {[wanted] = cools_until}
  end
  if redis.call("SREM", key.free, wanted) == 1 then return {wanted}, {} end
  saw(wan)
  if more then return nil, nil, {"MORE"} end
  local place = "withheld"
  if redis.call("ZSCORE", key.leased, wanted) then
    place = "leased"
  elseif cools_until then
    place = "cooling"
  elseif redis.call("SISMEMBER", key.withheld, wanted) == 0 then
    return nil, nil, {"NOT_IN_RANGE"}
  end
  local free_at = forecast_port(wan, wanted, network, asked.is_plain)
  return nil, nil, {"UNAVAILABLE", place, free_at and math.max(0, free_at - now_ms) or -1}
end
-- Pops so many free ports, those to avoid excepted, and adds them to `ports`. At random: it spreads the ports, and after
-- a failover it seldom meets a grant that was lost.
local function pop_free(fresh, avoid, ports)
  local back = {}
  for _, port in ipairs(redis.call("SPOP", key.free, fresh + #avoid)) do
    if fresh == 0 or avoid[port] then
      back[#back + 1] = port
    else
      fresh = fresh - 1
      ports[#ports + 1] = port
    end
  end
  if #back > 0 then redis.call("SADD", key.free, unpack(back)) end
end
