-- Puts withheld ports back into service, by way of a cool-down, since nobody knows who used them meanwhile.
-- ARGV 1 boot clock  2 its time in ms  3 who says so, for people, then up to 1,000 ports
-- Reply {"RESTORED", for each port where it was: "withheld", "leased" (and was to be withheld), "free", "cooling"
--   or "" for no port of the WAN}
-- @include "keys" "int" "wan" "server" "saw" "change" "epoch" "events" "grant" "places"
local wan, refusal = open_wan(ARGV[1], ARGV[2])
refusal = refusal or look_at_server(wan)
if refusal then return refusal end
local ports, reply, put_back = {unpack(ARGV, 4)}, {"RESTORED"}, {}
for i, place in ipairs(places_of(ports)) do
  local port = ports[i]
  reply[1 + i] = place or ""
  if place == "withheld" then
    redis.call("SREM", key.withheld, port)
    local _, _, _, _, earlier = read_grant(redis.call("HGET", key.grants, port)) -- an earlier use may cool for longer
    local free_at = math.max(wan.now_ms + wan.cooldown_ms, tonumber(earlier or 0))
    redis.call("ZADD", key.cooling, int(free_at), port)
    wan.due_ms = math.min(wan.due_ms, free_at)
    put_back[#put_back + 1] = port
  elseif place == "leased" and redis.call("HGET", key.leaving, port) == "withheld" then
    redis.call("HDEL", key.leaving, port)
    put_back[#put_back + 1] = port
  end
end
change(wan, "leaving", redis.call("HLEN", key.leaving))
if #put_back > 0 then
  next_epoch(wan)
  tell("restored", #put_back, put_back, "who", ARGV[3])
end
saw(wan)
return reply
