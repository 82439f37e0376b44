-- How many of the ports in service a network may have in quarantine: half, or a host whose ports are all refused would
-- take the WAN from everybody. And until when a network gets no free ports, because its systems recently refused more
-- than that; nil if they did not.
key.quarantine, key.quarantined = key.prefix .. "quarantine:", key.prefix .. "quarantined"
key.rejected = key.prefix .. "rejected:"
local function quarantine_of(wan)
  local rules = redis.call("HMGET", key.config, "quarantine_ms", "total")
  local in_service = tonumber(rules[2]) - redis.call("SCARD", key.withheld)
  wan.quarantine_ms = tonumber(rules[1])
  return math.max(1, math.floor(in_service / 2)), in_service
end
local function rejecting_until(wan, network)
  local most = quarantine_of(wan)
  local one_more = redis.call("ZREVRANGE", key.rejected .. network, most, most, "WITHSCORES")
  local till_ms = (tonumber(one_more[2]) or -wan.quarantine_ms) + wan.quarantine_ms
  return till_ms > wan.now_ms and till_ms or nil
end
