-- Defines a WAN, a bounded number of ports a call: call again while it fills.
-- ARGV 1 boot clock  2 its time in ms  3 its generation  4 "" if it must not be made, or on whose word it may: "new"
--   nobody's: it begins with a grace, unless the server has surely been as it is for as long; "recovered": it was lost, and
--   begins with a grace; "fresh": nobody can hold its ports, so there is no grace; "still fresh": it must not be made, but if
--   it began with a grace, and no port was leased since, that ends
--   5 how many ports a call  6 "grace" or "continue" after a failover, unless the definition says it
--   7... name, value, ... of the definition; "ports" is a list like 20000-21999,23000
-- Reply {"FILLING", made by this call or not (1, 0)}  {"DEFINED", the same, generation}
--   {"DIFFERENT", {name, value, ...} as it is defined}  {"GONE"} if it is not there and must not be made
--   {"OTHER_PROTOCOL", version}
-- @include "keys" "int" "wan" "server" "saw" "change" "events" "page_of_ports"
local PROTOCOL, FIRST, made, defined = "4", 7, 0, redis.call("HGET", key.config, "protocol")
if not defined then
  if ARGV[4] == "" or ARGV[4] == "still fresh" then return {"GONE"} end
  local clock_now = redis.call("TIME")
  local begun_ms = clock_now[1] * 1000 + math.floor(clock_now[2] / 1000)
  redis.call("HSET", key.config, "protocol", PROTOCOL, "state", "filling", "ahead_ms", 0, "waiting", 0, "leaving", 0,
    "filled", 0, "epoch", 1, "generation", ARGV[3], "on_failover", ARGV[6], "source", "", "run_id", "",
    "grace_until_ms", 0, "by", ARGV[4], unpack(ARGV, FIRST))
  redis.call("HSET", key.grants, "seen_ms", int(begun_ms), "fence", int(1000 * begun_ms), "due_ms", "1e16",
    "pace", "0 0 " .. int(begun_ms) .. " 0")
  redis.call("HSET", key.prefix .. "counters", "since_ms", int(begun_ms))
  if ARGV[4] == "fresh" and redis.call("HGET", key.config, "on_failover") == "grace" then
    redis.call("HSET", key.config, "source", string.match(redis.call("INFO", "replication"), "master_replid:(%x+)"),
      "run_id", string.match(redis.call("INFO", "server"), "run_id:(%x+)"))
  end
  made = 1
elseif defined ~= PROTOCOL then return {"OTHER_PROTOCOL", defined} end
for i = FIRST, #ARGV, 2 do
  if redis.call("HGET", key.config, ARGV[i]) ~= ARGV[i + 1] then
    return {"DIFFERENT", redis.call("HGETALL", key.config)}
  end
end
local stage, filled, list, generation, by, until_ms, new_until_ms, total = unpack(
  redis.call("HMGET", key.config, "state", "filled", "ports", "generation", "by", "grace_until_ms", "new_until_ms", "total"))
if stage == "removing" then return {"GONE"} end
if stage ~= "filling" then
  if string.find(ARGV[4], "fresh") and until_ms == new_until_ms and redis.call("SCARD", key.free) == tonumber(total) then
    redis.call("HSET", key.config, "grace_until_ms", 0)
  end
  return {"DEFINED", made, generation}
end
local first = tonumber(filled)
local ports, passed = page_of_ports(list, first, tonumber(ARGV[5]))
redis.call("HSET", key.config, "filled", int(first + #ports), "total", int(passed))
if #ports > 0 then redis.call("SADD", key.free, unpack(ports)) end
if first + #ports < passed then return {"FILLING", made} end
redis.call("HSET", key.config, "state", "open")
redis.call("HDEL", key.config, "filled", "by")
tell("defined", passed, nil, "why", by)
local wan, refusal = open_wan(ARGV[1], ARGV[2])
refusal = refusal or look_at_server(wan)
if refusal then return refusal end
if by == "recovered" then begin_grace(wan) end
if wan.grace_ms > 0 then
  change(wan, "new_until_ms", by == "new" and int(wan.now_ms + wan.grace_ms) or "", "succeeds", 1)
end
if wan.has_begun or wan.is_changed then saw(wan) end
return {"DEFINED", made, generation}
