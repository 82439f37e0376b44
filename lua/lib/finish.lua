-- Ends leases: `ending` says where a port goes, `finish` takes it there, by a first write that a full Redis allows.
local RESET_MS = 15000
local function ending(port, grant, ended, how)
  local rested_at = ended + grant.rest_ms
  local free_at = ended + math.max(wan.cooldown_ms, grant.rest_ms)
  if how == "unused" then
    rested_at, free_at = ended, 0
  elseif how == "drained" then
    rested_at, free_at = ended, ended + wan.cooldown_ms
  elseif how == "reset" then
    free_at = ended + math.max(math.min(wan.cooldown_ms, RESET_MS), grant.rest_ms)
  elseif how == "rejected" then
    rested_at, free_at = nil, ended + wan.quarantine_ms
  end
  grant.how, grant.free_at = how, math.max(free_at, grant.free_at)
  return {port = port, grant = grant, rested_at = rested_at}
end

local function add_to(lists, name, ...)
  local list = lists[name] or {}
  lists[name] = list
  for _, item in ipairs({...}) do list[#list + 1] = item end
end

local function finish(endings)
  local ports, leases, ids, grants, free, cooling, held, resting = {}, {}, {}, {}, {}, {}, {}, {}
  for i, e in ipairs(endings) do
    local grant = e.grant
    ports[i], leases[i], ids[i] = e.port, key.lease(e.port), grant.lease_id
    grants[2 * i - 1], grants[2 * i] = e.port, write_grant(grant)
    add_to(held, grant.holder, e.port)
    if grant.free_at <= now_ms() then
      free[#free + 1] = e.port
    else
      cooling[#cooling + 1], cooling[#cooling + 2] = int(grant.free_at), e.port
      if e.rested_at then add_to(resting, grant.network, int(e.rested_at), e.port) end
    end
  end
  redis.call("ZREM", key.leased, unpack(ports))
  redis.call("DEL", unpack(leases))
  redis.call("HDEL", key.ids, unpack(ids))
  for holder, list in pairs(held) do redis.call("SREM", key.held(holder), unpack(list)) end
  redis.call("HSET", key.grants, unpack(grants))
  if #free > 0 then redis.call("SADD", key.free, unpack(free)) end
  if #cooling > 0 then redis.call("ZADD", key.cooling, unpack(cooling)) end
  for network, list in pairs(resting) do redis.call("ZADD", key.resting(network), unpack(list)) end
  for _, e in ipairs(endings) do
    if wan.max_per_network > 0 then redis.call("HINCRBY", key.networks, e.grant.network, -1) end
    if wan.waiting > 0 then wake(e.grant.network, e.rested_at or e.grant.free_at, e.grant.free_at) end
  end
end
