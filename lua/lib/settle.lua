-- Takes a port out of service of which nobody knows any more who may use it, and adds it and its record to `told`.
local function set_aside(wan, port, grant, told)
  local lease_id, network = unpack(redis.call("HMGET", key.lease .. port, "lease_id", "network"))
  local was_leased = redis.call("ZREM", key.leased, port) == 1
  redis.call("ZREM", key.cooling, port)
  redis.call("SADD", key.withheld, port)
  redis.call("DEL", key.lease .. port)
  if lease_id then
    local holder, secret = string.match(lease_id, "^(.*)/(.*)$")
    if holder then redis.call("HDEL", key.held .. holder, secret) end
  end
  if was_leased and network and wan.max_per_network > 0 then redis.call("HINCRBY", key.networks, network, -1) end
  if told then told[#told + 1], told[#told + 2] = port, grant or "" end
  redis.log(redis.LOG_WARNING, key.grants .. " " .. port .. " cannot be read; the port is out of service")
  tell("withheld", 1, {port}, "why", "its record cannot be read")
end
local function first_score(name) return tonumber(redis.call("ZRANGE", name, 0, 0, "WITHSCORES")[2] or math.huge) end
-- Takes due ports on: expired leases into cooling, cooled ports into free; at most `limit` of each. Returns how many,
-- whether more may be due; `told`, if there is one, gets port and record of each that was set aside. `due_ms` is then when
-- the next is due.
local function settle(wan, limit, told)
  local now_ms = wan.now_ms
  local expired = redis.call("ZRANGEBYSCORE", key.leased, "-inf", now_ms, "WITHSCORES", "LIMIT", 0, limit)
  local cooled = redis.call("ZRANGEBYSCORE", key.cooling, "-inf", now_ms, "LIMIT", 0, limit)
  for i = 1, #expired, 2 do
    local port, text = expired[i], redis.call("HGET", key.grants, expired[i])
    local lease_id, fence, network, rest_ms, free_at, how, kind = read_grant(text)
    if how and how ~= "unreadable" then
      finish(wan, port, tonumber(expired[i + 1]), "expired", lease_id, fence, network, rest_ms, free_at, kind)
    else
      set_aside(wan, port, text, told)
    end
  end
  for _, port in ipairs(cooled) do
    local text = redis.call("HGET", key.grants, port)
    local _, _, network, _, _, how = read_grant(text)
    if how == "unreadable" then
      set_aside(wan, port, text, told)
    else
      redis.call("ZREM", key.cooling, port)
      if network then redis.call("ZREM", key.resting .. network, port) end
      redis.call("SADD", key.free, port)
      if wan.leaving > 0 then depart(wan, port, network) end
    end
  end
  wan.due_ms = math.min(first_score(key.leased), first_score(key.cooling))
  tell_ended(wan, "expired")
  return #expired / 2 + #cooled, wan.due_ms <= now_ms
end
