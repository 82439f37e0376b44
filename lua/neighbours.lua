-- Lists the holders of one PID namespace, page by page, in the order of their ids.
-- ARGV 1 boot id  2 PID namespace  3 the holder after whom the page begins  4 how many
-- Reply {"NEIGHBOURS", holder, what `holders` says of it, ...}
-- @include "namespace" "neighbours"
local beside = neighbours(ARGV[1], ARGV[2])
local page = redis.call("ZRANGEBYLEX", beside, "(" .. ARGV[3], "+", "LIMIT", 0, ARGV[4])
local reply = {"NEIGHBOURS"}
if #page == 0 then return reply end
for i, record in ipairs(redis.call("HMGET", key.holders, unpack(page))) do
  if record then
    reply[#reply + 1] = page[i]
    reply[#reply + 1] = record
  else
    redis.call("ZREM", beside, page[i])
  end
end
return reply
