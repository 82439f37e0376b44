-- One port for a network: its own that rested most recently, with until when it cools; else any free one. Nil where that
-- takes a longer look. At random among the free ones: it spreads the ports, and after a failover it seldom meets a grant
-- that was lost.
local TIME_WAIT_IS_OVER_MS = 65000
local function single(wan, network, is_plain)
  local own = redis.call("ZREVRANGEBYSCORE", key.resting .. network, wan.now_ms, "-inf", "WITHSCORES", "LIMIT", 0, 1)
  local port = own[1]
  if not port then return wan.rejects_until <= wan.now_ms and redis.call("SRANDMEMBER", key.free) or nil end
  if is_plain and own[2] + TIME_WAIT_IS_OVER_MS > wan.now_ms then
    local _, _, _, _, _, how, kind = read_grant(redis.call("HGET", key.grants, port))
    if kind ~= "plain" or how == "unreadable" then return nil end
  end
  local cools_until = redis.call("ZSCORE", key.cooling, port)
  if not cools_until then return nil end -- it was set aside
  return port, cools_until
end
