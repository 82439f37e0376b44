-- Lists the live leases by expiry, page by page. A lease that is renewed meanwhile comes again; none is left out.
-- ARGV 1 boot clock  2 its time in ms  3 the expires_at and 4 the port with which the page before ended, "" at first
--   5 how many to list at most  6 only those that end within this many ms, or ""
-- Reply {"LEASES", now, by how many ms the server's clock is ahead of that, port, expires_at, grant, label, acquired_at
--   as people read it, "idle" if its holder keeps it between leases, ...}
-- @include "keys" "int" "wan" "server" "page"
local wan, refusal = open_wan(ARGV[1], ARGV[2])
refusal = refusal or look_at_server(wan)
if refusal then return refusal end
local page, ports, grants = page_of(wan, ARGV[3], ARGV[4], ARGV[5], ARGV[6])
local reply = {"LEASES", wan.now_ms, wan.ahead_ms}
for i, port in ipairs(ports) do
  local about = redis.call("HMGET", key.lease .. port, "label", "acquired_at", "use")
  local n = 6 * i - 3
  reply[n + 1], reply[n + 2], reply[n + 3] = tonumber(port), tonumber(page[2 * i]), grants[i] or ""
  reply[n + 4], reply[n + 5], reply[n + 6] = about[1] or "", about[2] or "", about[3] or ""
end
return reply
