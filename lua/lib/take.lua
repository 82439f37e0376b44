-- Grants ports to the caller, which has them from wherever they were; `cools_until` has those that come from their cooling.
-- `is_held` says that `held` has them already. Returns the reply.
local function take(wan, asked, ports, cools_until, is_held)
  local now_ms, ids, network, writes = wan.now_ms, asked.ids, asked.network, wan.writes
  local expires_at, fence = now_ms + asked.ttl_ms, math.max(wan.server_us, wan.fence + 1)
  local answer = {"GRANTED", now_ms, expires_at, wan.max_ttl_ms, wan.lease_ttl_ms, wan.generation, wan.epoch}
  local dates, kind = {}, asked.is_plain and " live plain" or " live"
  local since, till = iso(now_ms + wan.ahead_ms, dates), iso(expires_at + wan.ahead_ms, dates)
  local leased, held, start = {}, {}, #asked.holder + 2
  for i, port in ipairs(ports) do
    local lease_id, fence_text, free_at, lease = ids[i], int(fence), tonumber(cools_until[port] or 0), key.lease .. port
    if free_at <= now_ms then free_at = 0 end
    answer[6 + 2 * i], answer[7 + 2 * i] = tonumber(port), fence
    writes[#writes + 1] = port
    writes[#writes + 1] = lease_id .. " " .. fence_text .. " " .. network .. " " .. asked.rest_ms .. " " .. free_at .. kind
    leased[2 * i - 1], leased[2 * i] = expires_at, port
    held[2 * i - 1], held[2 * i] = string.sub(lease_id, start), port
    redis.call("HSET", lease, "lease_id", lease_id, "fence", fence_text, "holder", asked.holder, "network", network,
      "host", asked.host, "pid", asked.pid, "label", asked.label, "acquired_at", since, "expires_at", till)
    redis.call("PEXPIRE", lease, asked.ttl_ms)
    fence = fence + 1
  end
  redis.call("ZADD", key.leased, unpack(leased))
  if not is_held then redis.call("HSET", key.held .. asked.holder, unpack(held)) end
  for i = #ports + 1, #ids do answer[6 + 2 * i], answer[7 + 2 * i] = 0, 0 end
  if wan.max_per_network > 0 then redis.call("HINCRBY", key.networks, network, #ports) end
  wan.due_ms, wan.fence = math.min(wan.due_ms, expires_at), fence - 1
  writes[#writes + 1], writes[#writes + 2] = "fence", int(wan.fence)
  writes[#writes + 1], writes[#writes + 2] = "granted", wan.granted + #ports
  saw(wan)
  return answer
end
