-- The answer to an acquire that was answered before: what its lease_ids hold, or nil if none is known.
local function same_answer(ids)
  local reply, expires_at, found = {"GRANTED", now_ms(), 0, wan.max_ttl_ms}, math.huge, false
  for i, port in ipairs(redis.call("HMGET", key.ids, unpack(ids))) do
    local fence = 0
    if port then
      found = true
      fence = read_grant(redis.call("HGET", key.grants, port)).fence
      expires_at = math.min(expires_at, redis.call("ZSCORE", key.leased, port))
    end
    reply[3 + 2 * i], reply[4 + 2 * i] = tonumber(port or 0), fence
  end
  reply[3] = expires_at
  return found and reply
end
