-- Counts who holds how many ports, page by page, as `leases` lists them.
-- ARGV 1 boot clock  2 its time in ms  3 the expires_at and 4 the port with which the page before ended, "" at first
--   5 how many leases to look at at most  6 only those that end within this many ms, or ""
-- Reply {"CENSUS", the expires_at and the port with which the page ends, "" when there are no more, holder, network and
--   how many ports, ...}
-- @include "keys" "int" "grant" "wan" "server" "page"
local wan, refusal = open_wan(ARGV[1], ARGV[2])
refusal = refusal or look_at_server(wan)
if refusal then return refusal end
local page, ports, grants = page_of(wan, ARGV[3], ARGV[4], ARGV[5], ARGV[6])
local more = #ports == tonumber(ARGV[5])
local counts, reply = {}, {"CENSUS", more and page[#page] or "", more and page[#page - 1] or ""}
for _, grant in ipairs(grants) do
  local lease_id, _, network = read_grant(grant)
  if lease_id then
    local who = string.match(lease_id, "^(.*)/") .. " " .. network
    counts[who] = (counts[who] or 0) + 1
  end
end
for who, count in pairs(counts) do
  local n, holder, network = #reply, string.match(who, "^(.*) (%S+)$")
  reply[n + 1], reply[n + 2], reply[n + 3] = holder, network, count
end
return reply
