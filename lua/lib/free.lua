-- Pops `fresh` free ports, those to avoid excepted, and adds them to `ports`. At random: it spreads the ports, and after
-- a failover it seldom meets a grant that was lost.
local back = {}
for _, port in ipairs(redis.call("SPOP", FREE, fresh + #avoid)) do
  if fresh == 0 or avoid[port] then
    back[#back + 1] = port
  else
    fresh = fresh - 1
    ports[#ports + 1] = port
  end
end
if #back > 0 then redis.call("SADD", FREE, unpack(back)) end
