-- Tells what a WAN counted.
-- ARGV 1 boot clock  2 its time in ms
-- Reply {"COUNTERS", now by the server's clock, since when it counts, name, number, ...}
-- @include "keys" "wan" "server"
local wan, refusal = open_wan(ARGV[1], ARGV[2])
refusal = refusal or look_at_server(wan)
if refusal then return refusal end
local HOWS = {"released", "drained", "reset", "time_wait", "unused", "rejected", "revoked", "reaped", "expired"}
local names, numbers, reply = {"granted"}, {}, {"COUNTERS", math.floor(wan.server_us / 1000), 0}
for _, how in ipairs(HOWS) do names[#names + 1] = "ended:" .. how end
local flat = redis.call("HGETALL", key.prefix .. "counters")
for i = 1, #flat, 2 do numbers[flat[i]] = tonumber(flat[i + 1]) end
reply[3], numbers.since_ms = numbers.since_ms or 0, nil
for i, count in ipairs(redis.call("HMGET", key.grants, unpack(names))) do numbers[names[i]] = tonumber(count or 0) end
for name, number in pairs(numbers) do reply[#reply + 1], reply[#reply + 2] = name, number end
return reply
