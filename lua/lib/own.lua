-- Finds the network's own rested ports that nobody ahead needs, and how many free ones will do besides. `kept` are those
-- that plain sockets can have: the caller's choice if it is one, else what it leaves to those ahead.
if is_plain then
  ports = kept
else
  for _, port in ipairs(kept) do
    if not avoid[port] then shun(port) end
  end
  ports = redis.call("ZREVRANGEBYSCORE", RESTING .. network, now_ms, "-inf", "LIMIT", 0, count + mine + #avoid)
end
if #ports > 0 then
  local rested = {}
  for i, until_ms in ipairs(redis.call("ZMSCORE", COOLING, unpack(ports))) do
    local port = ports[i]
    cools_until[port] = until_ms -- none of those that were set aside, whose networks nobody knows
    if until_ms and not avoid[port] then rested[#rested + 1] = port end
  end
  ports = {unpack(rested, 1, math.max(0, math.min(count, #rested - mine)))}
end
if #ports < count then
  fresh = redis.call("SCARD", FREE) - all
  if #avoid > 0 then
    for _, is_free in ipairs(redis.call("SMISMEMBER", FREE, unpack(avoid))) do fresh = fresh - is_free end
  end
  fresh = math.max(0, math.min(fresh, count - #ports))
end
