-- Adds an entry to the WAN's events: what is rare, and who did it to which ports. Nothing depends on it.
local MOST_EVENTS, MOST_TOLD = "1000", 16
local function tell(what, count, ports, ...)
  local first = {unpack(ports or {}, 1, math.min(MOST_TOLD, #(ports or {})))}
  redis.pcall("XADD", key.prefix .. "events", "MAXLEN", "~", MOST_EVENTS, "*", "what", what, "count", count,
    "ports", table.concat(first, ","), ...)
end
