-- Tells which leases a holder has here, page by page.
-- ARGV 1 boot clock  2 its time in ms  3 holder  4 cursor, 0 at first  5 about how many a page
-- Reply {"HELD", next cursor or 0, port, lease_id, expires_at, ...}
-- @include "keys"
-- @include "int"
-- @include "wan"
-- @include "grant"
local page = redis.call("SSCAN", HELD .. ARGV[3], ARGV[4], "COUNT", ARGV[5])
local reply = {"HELD", page[1]}
if #page[2] == 0 then return reply end
local expires = redis.call("ZMSCORE", LEASED, unpack(page[2]))
for i, text in ipairs(redis.call("HMGET", GRANTS, unpack(page[2]))) do
  if text and expires[i] then
    reply[#reply + 1] = page[2][i]
    reply[#reply + 1] = (read_grant(text))
    reply[#reply + 1] = expires[i]
  end
end
return reply
