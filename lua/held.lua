-- Tells which leases a holder has here, page by page.
-- ARGV 1 boot clock  2 its time in ms  3 holder  4 cursor, 0 at first  5 about how many a page
-- Reply {"HELD", next cursor or 0, port, lease_id, expires_at, ...}
-- @include "keys" "wan" "server"
local wan, refusal = open_wan(ARGV[1], ARGV[2])
refusal = refusal or look_at_server(wan)
if refusal then return refusal end
local page = redis.call("HSCAN", key.held .. ARGV[3], ARGV[4], "COUNT", ARGV[5])
local reply, secrets, ports = {"HELD", page[1]}, {}, {}
for i = 1, #page[2], 2 do secrets[#secrets + 1], ports[#ports + 1] = page[2][i], page[2][i + 1] end
if #ports == 0 then return reply end
for i, expires_at in ipairs(redis.call("ZMSCORE", key.leased, unpack(ports))) do
  if expires_at then
    reply[#reply + 1] = ports[i]
    reply[#reply + 1] = ARGV[3] .. "/" .. secrets[i]
    reply[#reply + 1] = expires_at
  end
end
return reply
