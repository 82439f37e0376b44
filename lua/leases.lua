-- Lists the live leases by expiry, page by page. A lease that is renewed meanwhile comes again; none is left out.
-- ARGV 1 boot clock  2 its time in ms  3 the expires_at and 4 the port with which the page before ended, "" at first
--   5 how many to list at most  6 only those that end within this many ms, or ""
-- Reply {"LEASES", now, by how many ms the server's clock is ahead of that, port, expires_at, grant, label, acquired_at
--   as people read it, ...}
-- @include "keys"
-- @include "int"
-- @include "wan"
-- @include "page"
local reply = {"LEASES", now_ms, ahead_ms}
for i, port in ipairs(ports) do
  local about = redis.call("HMGET", LEASE .. port, "label", "acquired_at")
  local n = 5 * i - 2
  reply[n + 1], reply[n + 2], reply[n + 3] = tonumber(port), tonumber(page[2 * i]), grants[i] or ""
  reply[n + 4], reply[n + 5] = about[1] or "", about[2] or ""
end
return reply
