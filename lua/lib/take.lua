-- Grants `ports`, of which the first come from their cooling, to the caller. Ends the script.
local answer = {"GRANTED", now_ms, now_ms + ttl_ms, max_ttl_ms, tonumber(config[10]), config[20]}
local acquired_at, expires_at = iso(now_ms + ahead_ms), iso(now_ms + ahead_ms + ttl_ms)
local holder, host, pid, label, kind = ARGV[3], ARGV[6], ARGV[7], ARGV[8], is_plain and " live plain" or " live"
for i = 1, #ports do
  local port, lease_id, fence_text, free_at = ports[i], ids[i], int(fence), tonumber(cools_until[ports[i]] or 0)
  if free_at <= now_ms then free_at = 0 end
  answer[5 + 2 * i], answer[6 + 2 * i] = tonumber(port), fence
  local lease = LEASE .. port
  redis.call("HSET", lease, "lease_id", lease_id, "fence", fence_text, "holder", holder, "network", network,
    "host", host, "pid", pid, "label", label, "acquired_at", acquired_at, "expires_at", expires_at)
  redis.call("PEXPIRE", lease, ttl_ms)
  redis.call("HSET", GRANTS, port,
    lease_id .. " " .. fence_text .. " " .. network .. " " .. ARGV[5] .. " " .. int(free_at) .. kind)
  redis.call("ZADD", LEASED, now_ms + ttl_ms, port)
  redis.call("HSET", IDS, lease_id, port)
  redis.call("SADD", HELD .. holder, port)
  fence = fence + 1
end
if #ports < #ids then redis.call("HSET", CONFIG, "granted", int(granted + #ports)) end
for i = #ports + 1, #ids do answer[5 + 2 * i], answer[6 + 2 * i] = 0, 0 end
if max_per_network > 0 then redis.call("HINCRBY", NETWORKS, network, #ports) end
return answer
