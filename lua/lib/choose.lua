-- The network's own rested ports that nobody ahead needs, until when they cool, and how many free ones will do besides. Some
-- that plain sockets can have are left to those ahead, or are the choice of a caller that has such a socket.
local function choose(wan, asked, count, all, mine, plain_ahead, avoid)
  local cools_until, fresh, kept, ports = {}, 0, {}
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
-- Pops that many free ports, those to avoid excepted, and adds them to `ports`. At random: it spreads the ports, and after
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
