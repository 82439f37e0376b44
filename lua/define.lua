-- Defines a WAN, a bounded number of ports a call: call again while it fills.
-- ARGV 1 its generation  2 "new" if it may be made, "recovered" if it may with a grace to begin with
--   3 how many ports a call  4 "grace" or "continue" after a failover, unless the definition says it
--   5... name, value, ... of the definition; "ports" is a list like 20000-21999,23000
-- Reply {"FILLING", made by this call or not (1, 0)}  {"DEFINED", the same, generation}
--   {"DIFFERENT", {name, value, ...} as it is defined}  {"GONE"} if it is not there and must not be made
--   {"OTHER_PROTOCOL", version}
-- @include "keys"
-- @include "int"
local PROTOCOL = "3"
local made = 0
local protocol = redis.call("HGET", CONFIG, "protocol")
if protocol and protocol ~= PROTOCOL then return {"OTHER_PROTOCOL", protocol} end
if not protocol then
  if ARGV[2] == "" then return {"GONE"} end
  local time = redis.call("TIME")
  local now_ms = time[1] * 1000 + math.floor(time[2] / 1000)
  redis.call("HSET", CONFIG, "protocol", PROTOCOL, "state", "filling", "seen_ms", int(now_ms), "ahead_ms", 0, "fence", 0,
    "waiting", 0, "leaving", 0, "filled", 0, "generation", ARGV[1], "on_failover", ARGV[4], "source", "", "run_id", "",
    "grace_until_ms", 0, unpack(ARGV, 5))
  local rules = redis.call("HMGET", CONFIG, "on_failover", "max_ttl_ms", "failover_margin_ms")
  if rules[1] == "grace" then
    redis.call("HSET", CONFIG, "source", string.match(redis.call("INFO", "replication"), "master_replid:(%x+)"),
      "run_id", string.match(redis.call("INFO", "server"), "run_id:(%x+)"))
  end
  if ARGV[2] == "recovered" then
    redis.call("HSET", CONFIG, "grace_until_ms", int(now_ms + rules[2] + rules[3]), "succeeds", 1)
  end
  made = 1
end
for i = 5, #ARGV, 2 do
  if redis.call("HGET", CONFIG, ARGV[i]) ~= ARGV[i + 1] then
    return {"DIFFERENT", redis.call("HGETALL", CONFIG)}
  end
end
local config = redis.call("HMGET", CONFIG, "state", "filled", "ports", "generation")
if config[1] == "removing" then return {"GONE"} end
if config[1] ~= "filling" then return {"DEFINED", made, config[4]} end

local first, left = tonumber(config[2]), tonumber(ARGV[3])
local ports, passed = {}, 0
for from, to in string.gmatch(config[3], "(%d+)-?(%d*)") do
  from, to = tonumber(from), tonumber(to ~= "" and to or from)
  for port = math.max(from, from + first - passed), to do
    if #ports == left then break end
    ports[#ports + 1] = int(port)
  end
  passed = passed + to - from + 1
end
redis.call("HSET", CONFIG, "filled", int(first + #ports), "total", int(passed))
if #ports > 0 then redis.call("SADD", FREE, unpack(ports)) end
if first + #ports < passed then return {"FILLING", made} end
redis.call("HSET", CONFIG, "state", "open")
redis.call("HDEL", CONFIG, "filled")
return {"DEFINED", made, config[4]}
