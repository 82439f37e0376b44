-- Takes a WAN's data from protocol 3 to this one, a bounded number of leases a call: call again while it goes on. Neither
-- version grants or renews meanwhile; leases, cool-downs and what has been withheld stay as they are.
-- ARGV 1 boot clock  2 its time in ms  3 about how many leases a call
-- Reply {"MIGRATING", how many leases are left} call again  {"MIGRATED"}  {"CURRENT"} if there was nothing to do
--   {"NOT_DEFINED"}  {"OTHER_PROTOCOL", version}
-- @include "keys" "int"
local NEW, OLD, BETWEEN, IDS = "4", "3", "3 to 4", prefix .. "ids"
local protocol, state = unpack(redis.call("HMGET", key.config, "protocol", "state"))
if not protocol or state == "filling" or state == "removing" then return {"NOT_DEFINED"} end
if protocol == NEW then return {"CURRENT"} end
if protocol ~= OLD and protocol ~= BETWEEN then return {"OTHER_PROTOCOL", protocol} end
redis.call("HSET", key.config, "protocol", BETWEEN)

-- The leases of a holder were in two places; now they are in one.
local cursor, page = unpack(redis.call("HSCAN", IDS, redis.call("HGET", key.config, "cursor") or 0, "COUNT", ARGV[3]))
redis.call("HSET", key.config, "cursor", cursor) -- from the start again it would look at ever more that is gone
for i = 1, #page, 2 do
  local holder, secret = string.match(page[i], "^(.*)/(.*)$")
  if holder then
    if redis.call("TYPE", key.held .. holder).ok == "set" then redis.call("UNLINK", key.held .. holder) end
    redis.call("HSET", key.held .. holder, secret, page[i + 1])
  end
  redis.call("HDEL", IDS, page[i])
end
local left = redis.call("HLEN", IDS)
if left > 0 then return {"MIGRATING", left} end

-- What changes with each call has its place beside the grants.
local moved = {"seen_ms", "fence", "granted", "pace"}
for _, name in ipairs(redis.call("HKEYS", key.config)) do
  if string.find(name, "^clock:") then moved[#moved + 1] = name end
end
for i, value in ipairs(redis.call("HMGET", key.config, unpack(moved))) do
  if value then redis.call("HSET", key.grants, moved[i], value) end
end
redis.call("HDEL", key.config, "cursor", unpack(moved))
local time = redis.call("TIME")
redis.call("HSET", prefix .. "counters", "since_ms", int(time[1] * 1000 + math.floor(time[2] / 1000)))
redis.call("XADD", prefix .. "events", "*", "what", "migrated", "count", 1, "why", "from protocol 3")
redis.call("HSET", key.config, "epoch", 1, "protocol", NEW)
return {"MIGRATED"}
