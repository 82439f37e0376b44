-- The answer to an acquire that was answered before: what its lease_ids hold. Ends the script.
if known[asked] then
  local answer, expires_at = {"GRANTED", now_ms, 0, max_ttl_ms, tonumber(config[10]), config[20]}, math.huge
  for i = 1, #ids do
    local port, lease_id, fence = known[i] or 0, read_grant(known[i] and redis.call("HGET", GRANTS, known[i]))
    if lease_id == ids[i] then
      expires_at = math.min(expires_at, redis.call("ZSCORE", LEASED, port))
    else
      port, fence = 0, 0
    end
    answer[5 + 2 * i], answer[6 + 2 * i] = tonumber(port), tonumber(fence)
  end
  answer[3] = expires_at
  -- WAIT and WAITAOF wait for what the same connection wrote, and this may be another one than that which granted. A write
  -- that a full Redis allows comes first.
  redis.call("ZREM", LEASED, "")
  saw()
  return answer
end
