-- Removes a WAN's data, a bounded number of ports a call: call again while it goes on. Nothing is granted from the first.
-- ARGV 1 boot clock  2 its time in ms  3 "force" though leases live, or ""  4 how many ports a call
-- Reply {"IN_USE", how many leases live}  {"GRACE", ms until it can be done, when that is}
--   {"REMOVING"} call again  {"REMOVED"}
-- @include "keys"
-- @include "int"
-- @include "grant"
-- @include "wan"
-- @include "server"
-- @include "saw"
-- @include "grace"
if redis.call("HGET", CONFIG, "state") ~= "removing" then
  local wan, refusal = open_wan(ARGV[1], ARGV[2])
  refusal = refusal or look_at_server(wan)
  if wan and ARGV[3] ~= "force" then refusal = refusal or in_grace(wan) end
  if refusal then return refusal end
  local live = redis.call("ZCOUNT", LEASED, "(" .. int(wan.now_ms), "+inf")
  if live > 0 and ARGV[3] ~= "force" then return {"IN_USE", live} end
  change(wan, "state", "removing")
  saw(wan)
end
local QUARANTINE, REJECTED, CAPPED = PREFIX .. "quarantine:", PREFIX .. "rejected:", PREFIX .. "capped"
for _, name in ipairs({LEASED, COOLING}) do
  local ports = redis.call("ZRANGE", name, 0, ARGV[4] - 1)
  if #ports > 0 then
    for i, grant in ipairs(redis.call("HMGET", GRANTS, unpack(ports))) do
      redis.call("DEL", LEASE .. ports[i], QUARANTINE .. ports[i])
      if grant then
        local lease_id, _, network = read_grant(grant)
        redis.call("DEL", HELD .. string.match(lease_id, "^(.*)/"), RESTING .. network, REJECTED .. network)
      end
    end
    redis.call("ZREM", name, unpack(ports))
    return {"REMOVING"}
  end
end
local tickets = redis.call("ZRANGE", CAPPED, 0, ARGV[4] - 1)
if #tickets > 0 then
  for _, text in ipairs(redis.call("HMGET", WAITERS, unpack(tickets))) do
    redis.call("DEL", CAPPED .. ":" .. (string.match(text or "", "^%S+") or ""))
  end
  redis.call("ZREM", CAPPED, unpack(tickets))
  return {"REMOVING"}
end
redis.call("UNLINK", PREFIX .. "events", COUNTERS, unpack(KEYS, 2))
redis.call("DEL", CONFIG)
return {"REMOVED"}
