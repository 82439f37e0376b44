-- The answer to an acquire that was answered before: what its lease_ids hold. Nil if none of them is known.
local function answer_again(wan, holder, ids)
  local secrets = {}
  for i, lease_id in ipairs(ids) do secrets[i] = string.sub(lease_id, #holder + 2) end
  local known, is_known = redis.call("HMGET", key.held .. holder, unpack(secrets)), false
  for i = 1, #ids do is_known = is_known or known[i] end
  if not is_known then return nil end
  local expires_at, pairs_of = math.huge, {}
  for i = 1, #ids do
    local port, lease_id, fence = known[i] or 0, read_grant(known[i] and redis.call("HGET", key.grants, known[i]))
    if lease_id == ids[i] then
      expires_at = math.min(expires_at, redis.call("ZSCORE", key.leased, port))
    else
      port, fence = 0, 0
    end
    pairs_of[2 * i - 1], pairs_of[2 * i] = tonumber(port), tonumber(fence)
  end
  -- WAIT and WAITAOF wait for what the same connection wrote, and this may be another one than that which granted. A write
  -- that a full Redis allows comes first.
  redis.call("ZREM", key.leased, "")
  saw(wan)
  return {"GRANTED", wan.now_ms, expires_at, wan.max_ttl_ms, wan.lease_ttl_ms, wan.generation, wan.epoch, unpack(pairs_of)}
end
