-- Tells all that is known of a port.
-- ARGV 1 boot clock  2 its time in ms  3 port
-- Reply {"EXPLAINED", now, by how many ms the server's clock is ahead of that, "free", "leased", "cooling", "withheld" or
--   "" for no port of the WAN, when its lease or its cooling is over or -1, when the network that had it last may have it
--   or -1, "" or what becomes of it then: "withheld" or "removed", its grant or "", {name, value, ...} of the lease for
--   people, the same of the quarantine}
-- @include "keys" "wan" "server" "places"
local wan, refusal = open_wan(ARGV[1], ARGV[2])
refusal = refusal or look_at_server(wan)
if refusal then return refusal end
local port = ARGV[3]
local place = places_of({port})[1]
local grant = redis.call("HGET", key.grants, port) or ""
local network = string.match(grant, "^%S+ %d+ (%S+)") or ""
return {"EXPLAINED", wan.now_ms, wan.ahead_ms, place or "",
  tonumber(redis.call("ZSCORE", key.leased, port) or redis.call("ZSCORE", key.cooling, port) or -1),
  tonumber(redis.call("ZSCORE", key.resting .. network, port) or -1),
  redis.call("HGET", key.leaving, port) or "", grant,
  redis.call("HGETALL", key.lease .. port), redis.call("HGETALL", key.prefix .. "quarantine:" .. port)}
