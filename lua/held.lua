-- Tells which leases a holder has here, page by page.
-- ARGV 1 holder  2 cursor, 0 at first  3 about how many a page
-- Reply {"HELD", next cursor or 0, port, lease_id, port, lease_id, ...}
-- @include "keys"
-- @include "int"
-- @include "wan"
-- @include "grant"
local page = redis.call("SSCAN", key.held(ARGV[1]), ARGV[2], "COUNT", ARGV[3])
local reply = {"HELD", page[1]}
if #page[2] == 0 then return reply end
for i, text in ipairs(redis.call("HMGET", key.grants, unpack(page[2]))) do
  if text then
    reply[#reply + 1] = page[2][i]
    reply[#reply + 1] = read_grant(text).lease_id
  end
end
return reply
