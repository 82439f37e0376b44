-- Removes a WAN's data, a bounded number of ports a call: call again while it goes on. Nothing is granted from the first.
-- ARGV 1 boot clock  2 its time in ms  3 "force" though leases live, or ""  4 how many ports a call
-- Reply {"IN_USE", how many leases live}  {"GRACE", ms until it can be done, when that is}
--   {"REMOVING"} call again  {"REMOVED"}
-- @include "keys" "int" "grant" "wan" "server" "saw" "change" "grace"
if redis.call("HGET", key.config, "state") ~= "removing" then
  local wan, refusal = open_wan(ARGV[1], ARGV[2])
  refusal = refusal or look_at_server(wan)
  if wan and ARGV[3] ~= "force" then refusal = refusal or in_grace(wan) end
  if refusal then return refusal end
  local live = redis.call("ZCOUNT", key.leased, "(" .. int(wan.now_ms), "+inf")
  if live > 0 and ARGV[3] ~= "force" then return {"IN_USE", live} end
  change(wan, "state", "removing")
  saw(wan)
end
local quarantine, rejected, capped = key.prefix .. "quarantine:", key.prefix .. "rejected:", key.prefix .. "capped"
for _, name in ipairs({key.leased, key.cooling}) do
  local ports = redis.call("ZRANGE", name, 0, ARGV[4] - 1)
  if #ports > 0 then
    for i, grant in ipairs(redis.call("HMGET", key.grants, unpack(ports))) do
      redis.call("DEL", key.lease .. ports[i], quarantine .. ports[i])
      if grant then
        local lease_id, _, network = read_grant(grant)
        redis.call("DEL", key.held .. string.match(lease_id, "^(.*)/"), key.resting .. network, rejected .. network)
      end
    end
    redis.call("ZREM", name, unpack(ports))
    return {"REMOVING"}
  end
end
local tickets = redis.call("ZRANGE", capped, 0, ARGV[4] - 1)
if #tickets > 0 then
  for _, text in ipairs(redis.call("HMGET", key.waiters, unpack(tickets))) do
    redis.call("DEL", capped .. ":" .. (string.match(text or "", "^%S+") or ""))
  end
  redis.call("ZREM", capped, unpack(tickets))
  return {"REMOVING"}
end
redis.call("UNLINK", key.prefix .. "events", key.prefix .. "counters", unpack(KEYS, 2))
redis.call("DEL", key.config)
return {"REMOVED"}
