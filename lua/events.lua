-- Tells what happened in a WAN, newest first; or, of a caller who knows some of it, what came after that, oldest first.
-- ARGV 1 the id of the last entry that the caller knows, or ""  2 only what is not older than this many ms, or ""
--   3 how many entries at most
-- Reply {"EVENTS", now by the server's clock, {{id, {field, value, ...}}, ...}}
-- @include "keys"
-- @include "int"
local known, within_ms, most = unpack(ARGV, 1, 3)
local time, events = redis.call("TIME"), key.prefix .. "events"
local now_ms = time[1] * 1000 + math.floor(time[2] / 1000)
if known ~= "" then return {"EVENTS", now_ms, redis.call("XRANGE", events, "(" .. known, "+", "COUNT", most)} end
local first = within_ms == "" and "-" or int(math.max(0, now_ms - within_ms))
return {"EVENTS", now_ms, redis.call("XREVRANGE", events, "+", first, "COUNT", most)}
