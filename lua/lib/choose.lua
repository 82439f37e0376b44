-- Which ports a caller gets, and how they leave the place where they were.
local avoid = {}
for port in string.gmatch(ARGV[10], "%d+") do avoid[#avoid + 1] = port; avoid[port] = true end

local function state_of(port)
  if redis.call("ZSCORE", key.leased, port) then return "leased" end
  if redis.call("ZSCORE", key.cooling, port) then return "cooling" end
  if redis.call("SISMEMBER", key.withheld, port) == 1 then return "withheld" end
end

local function leave_cooling(ports, network)
  if #ports == 0 then return end
  redis.call("ZREM", key.cooling, unpack(ports))
  redis.call("ZREM", key.resting(network), unpack(ports))
end

local function is_free_to(port, network)
  if redis.call("SISMEMBER", key.free, port) == 1 then return true end
  return (tonumber(redis.call("ZSCORE", key.resting(network), port) or nil) or math.huge) <= now_ms()
end

-- Pops at random: it spreads the ports, and after a failover it seldom meets a grant that was lost.
local function pop_free(count, ports)
  if count == 0 then return end
  local back = {}
  for _, port in ipairs(redis.call("SPOP", key.free, count + #avoid)) do
    if count == 0 or avoid[port] then
      back[#back + 1] = port
    else
      count = count - 1
      ports[#ports + 1] = port
    end
  end
  if #back > 0 then redis.call("SADD", key.free, unpack(back)) end
end

-- The caller's own rested ports that nobody ahead needs, and how many free ones to take besides.
local function choose(count, network, all, mine)
  local rested = redis.call("ZREVRANGEBYSCORE", key.resting(network), int(now_ms()), "-inf",
    "LIMIT", 0, count + mine + #avoid)
  local own, left = {}, -mine
  for _, port in ipairs(rested) do
    if not avoid[port] then left = left + 1 end
  end
  for _, port in ipairs(rested) do
    if #own < math.min(count, left) and not avoid[port] then own[#own + 1] = port end
  end
  if #own == count then return own, 0 end
  local fresh = redis.call("SCARD", key.free) - all
  for _, port in ipairs(avoid) do fresh = fresh - redis.call("SISMEMBER", key.free, port) end
  return own, math.max(0, math.min(fresh, count - #own))
end
