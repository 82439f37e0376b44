-- Adds an entry to the WAN's events: what is rare, and who did it to which ports. Nothing depends on it.
local MOST_EVENTS, MOST_TOLD = "1000", 16
local function tell(what, count, ports, ...)
  local first = {unpack(ports or {}, 1, math.min(MOST_TOLD, #(ports or {})))}
  redis.pcall("XADD", key.prefix .. "events", "MAXLEN", "~", MOST_EVENTS, "*", "what", what, "count", count,
    "ports", table.concat(first, ","), ...)
end
-- The same of the leases that `finish` ended in this call, if it told of any.
local function tell_ended(wan, what, ...)
  local told = wan.told
  if not told then return end
  tell(what, #told.ports, told.ports, "label", told.about[1] or "", "host", told.about[2] or "", "network", told.network,
    "holder", told.who, ...)
  wan.told = nil
end
