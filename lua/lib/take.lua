-- Grants ports that were taken out of their places to the caller. The arguments are those of acquire.
local function take(ports, ids, ttl_ms)
  local holder, network, rest_ms, host, pid, label = unpack(ARGV, 1, 6)
  local expires_at = now_ms() + ttl_ms
  local acquired_text, expires_text, expires = iso(now_ms()), iso(expires_at), int(expires_at)
  local reply = {"GRANTED", now_ms(), expires_at, wan.max_ttl_ms}
  local last = redis.call("HMGET", key.grants, unpack(ports))
  local grants, leased, known = {}, {}, {}
  for i, port in ipairs(ports) do
    local fence, free_at = time[1] * 1000000 + time[2], 0
    if last[i] then
      local before = read_grant(last[i])
      fence, free_at = math.max(fence, before.fence + 1), before.free_at
    end
    grants[2 * i - 1], grants[2 * i] = port, write_grant({
      lease_id = ids[i], fence = fence, network = network, rest_ms = rest_ms, how = "live",
      free_at = free_at > now_ms() and free_at or 0})
    leased[2 * i - 1], leased[2 * i] = expires, port
    known[2 * i - 1], known[2 * i] = ids[i], port
    reply[3 + 2 * i], reply[4 + 2 * i] = tonumber(port), fence
    redis.call("HSET", key.lease(port), "lease_id", ids[i], "fence", int(fence), "holder", holder, "network", network,
      "host", host, "pid", pid, "label", label, "acquired_at", acquired_text, "expires_at", expires_text)
    redis.call("PEXPIRE", key.lease(port), ttl_ms)
  end
  for i = #ports + 1, #ids do reply[3 + 2 * i], reply[4 + 2 * i] = 0, 0 end
  redis.call("HSET", key.grants, unpack(grants))
  redis.call("ZADD", key.leased, unpack(leased))
  redis.call("HSET", key.ids, unpack(known))
  redis.call("SADD", key.held(holder), unpack(ports))
  if wan.max_per_network > 0 then redis.call("HINCRBY", key.networks, network, #ports) end
  return reply
end
