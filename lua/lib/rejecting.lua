-- How many of the ports in service a network may have in quarantine: half, or a host whose ports are all refused would
-- take the WAN from everybody. And until when a network gets no free ports, because its systems recently refused more
-- than that; nil if they did not.
local rules = redis.call("HMGET", CONFIG, "quarantine_ms", "total")
local quarantine_ms, in_service = tonumber(rules[1]), tonumber(rules[2]) - redis.call("SCARD", WITHHELD)
local most = math.max(1, math.floor(in_service / 2))
local function rejecting_until(network)
  local one_more = redis.call("ZREVRANGE", REJECTED .. network, most, most, "WITHSCORES")
  local till_ms = (tonumber(one_more[2]) or -quarantine_ms) + quarantine_ms
  return till_ms > now_ms and till_ms or nil
end
