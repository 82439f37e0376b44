-- A page of the live leases by expiry: `page` is port, expires_at, port, expires_at, ... Among equals the ports are in order,
-- and those of the page before may have left.
local function upto(score) return redis.call("ZCOUNT", LEASED, "-inf", score) end
local start, stop = upto(grace_ms > 0 and 0 or int(now_ms)), ARGV[6] == "" and math.huge or upto(int(now_ms + ARGV[6]))
if ARGV[3] ~= "" then
  start = upto("(" .. ARGV[3])
  local after = upto(ARGV[3])
  while start < after do
    local middle = math.floor((start + after) / 2)
    if redis.call("ZRANGE", LEASED, middle, middle)[1] > ARGV[4] then after = middle else start = middle + 1 end
  end
end
stop = math.min(start + ARGV[5], stop)
local page = stop > start and redis.call("ZRANGE", LEASED, start, stop - 1, "WITHSCORES") or {}
local ports = {}
for i = 1, #page, 2 do ports[#ports + 1] = page[i] end
local grants = #ports > 0 and redis.call("HMGET", GRANTS, unpack(ports)) or {}
