-- Counts the ports of a WAN as what they are now, settled or not, and lists the first of its leases.
-- ARGV 1 boot clock  2 its time in ms  3 network  4 how many leases to list at most
-- Reply {"SNAPSHOT", now, ms that a grace lasts yet, free, leased, cooling, withheld, how many cooling ports that network
--   may have, {name, value, ...} of config, {port, lease_id, fence, network, expires_at, ...} by expiry}
-- @include "keys" "int" "grant" "wan" "server"
local wan, refusal = open_wan(ARGV[1], ARGV[2])
refusal = refusal or look_at_server(wan)
if refusal then return refusal end
local LOOK = 1000
local upto = wan.grace_ms > 0 and 0 or int(wan.now_ms) -- what is due until then is settled, or as good as
local function grants_of(page)
  local ports, grants = {}, {}
  for i = 1, #page, 2 do ports[#ports + 1] = page[i] end
  if #ports == 0 then return ports, grants end
  for i, text in ipairs(redis.call("HMGET", key.grants, unpack(ports))) do grants[i] = {read_grant(text or "")} end
  return ports, grants
end

-- Expired leases that nobody settled cool by their own rest; past the first thousand, by the WAN's cool-down.
local expired = redis.call("ZRANGEBYSCORE", key.leased, "-inf", upto, "WITHSCORES", "LIMIT", 0, LOOK)
local cool, by_cooldown, ports, grants = 0, 0, grants_of(expired)
for i = 1, #ports do
  local ended = tonumber(expired[2 * i])
  if ended + math.max(wan.cooldown_ms, grants[i][4]) > wan.now_ms then cool = cool + 1 end
  if ended + wan.cooldown_ms > wan.now_ms then by_cooldown = by_cooldown + 1 end
end
if #ports == LOOK then
  cool = cool - by_cooldown + redis.call("ZCOUNT", key.leased, "(" .. int(wan.now_ms - wan.cooldown_ms), upto)
end

local withheld, gone = redis.call("SCARD", key.withheld), 0
if wan.leaving > 0 then -- those among them that leave the WAN or its service
  local cooled = redis.call("ZRANGEBYSCORE", key.cooling, "-inf", upto, "LIMIT", 0, LOOK)
  for _, port in ipairs(cooled) do ports[#ports + 1] = port end
  for i, wanted in ipairs(#ports > 0 and redis.call("HMGET", key.leaving, unpack(ports)) or {}) do
    local free_at = grants[i] and math.max(expired[2 * i] + math.max(wan.cooldown_ms, grants[i][4]), grants[i][5]) or 0
    if wanted == "withheld" then
      withheld = withheld + 1
      if free_at > wan.now_ms then cool = cool - 1 end
    elseif wanted and free_at <= wan.now_ms then
      gone = gone + 1
    end
  end
end

local leased = redis.call("ZCOUNT", key.leased, "(" .. upto, "+inf")
local cooling = redis.call("ZCOUNT", key.cooling, "(" .. upto, "+inf") + cool
local total = redis.call("SCARD", key.free) + redis.call("ZCARD", key.leased) + redis.call("ZCARD", key.cooling)
  + redis.call("SCARD", key.withheld) - gone
local listed, page = {}, redis.call("ZRANGEBYSCORE", key.leased, "(" .. upto, "+inf", "WITHSCORES", "LIMIT", 0, ARGV[4])
ports, grants = grants_of(page)
for i, port in ipairs(ports) do
  for _, word in ipairs({port, grants[i][1], grants[i][2], grants[i][3], page[2 * i]}) do listed[#listed + 1] = word end
end
local config, counted = redis.call("HGETALL", key.config), redis.call("HMGET", key.grants, "granted", "pace")
config[#config + 1], config[#config + 2], config[#config + 3], config[#config + 4] =
  "granted", counted[1] or "0", "pace", counted[2] or "0 0 0 0"
local rested = redis.call("ZCOUNT", key.resting .. ARGV[3], "-inf", upto)
return {"SNAPSHOT", wan.now_ms, wan.grace_ms, total - leased - cooling - withheld, leased, cooling, withheld, rested,
  config, listed}
