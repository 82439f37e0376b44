-- Until when `network` gets no more free ports, for its systems refused so many within a minute; nil if they did not.
-- One host whose ports are all refused would else put the whole WAN into quarantine, for everybody.
local PATIENCE_MS, MOST, SHARE = 60000, 50, 0.1
local function rejecting_until(network)
  local most = math.max(MOST, math.floor(redis.call("HGET", CONFIG, "total") * SHARE))
  local first = redis.call("ZREVRANGE", REJECTED .. network, most - 1, most - 1, "WITHSCORES")
  local till_ms = (tonumber(first[2]) or -PATIENCE_MS) + PATIENCE_MS
  return till_ms > now_ms and till_ms or nil
end
