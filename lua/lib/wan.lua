-- Opens the WAN: its rules, and the time, which never runs backwards. Ends the script when there is no such WAN.
local config = redis.call("HMGET", key.config, "protocol", "state", "seen_ms", "waiting", "cooldown_ms",
  "lease_ttl_ms", "max_ttl_ms", "quarantine_ms", "max_per_network")
if config[1] ~= "1" then
  if config[1] then return {"OTHER_PROTOCOL", config[1]} end
  return {"NOT_DEFINED"}
end
if config[2] == "filling" then return {"NOT_DEFINED"} end
local wan = {
  state = config[2], waiting = tonumber(config[4]), cooldown_ms = tonumber(config[5]),
  lease_ttl_ms = tonumber(config[6]), max_ttl_ms = tonumber(config[7]),
  quarantine_ms = tonumber(config[8]), max_per_network = tonumber(config[9]),
}
local time = redis.call("TIME")
local now = math.max(time[1] * 1000 + math.floor(time[2] / 1000), tonumber(config[3]))
local function now_ms() return now end
local function saw(...)
  redis.call("HSET", key.config, "seen_ms", int(now), ...)
end
