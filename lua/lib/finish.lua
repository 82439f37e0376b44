-- Ends a lease: its port goes where it belongs, by a first write that a full Redis allows. `grant` is what `read_grant`
-- gave; `saw` writes what becomes of it. Returns how it ended, in the word that is kept.
local SEEN_PLAIN = {clean = true, reset = true, time_wait = true}
local KEPT_AS = {clean = "released", unseen = "released", lingers = "unused"}
local TOLD = {revoked = true, reaped = true, rejected = true, expired = true}
local function finish(wan, port, ended_at, how, grant)
  local lease_id, fence, network, rest_ms, earlier_free_at, _, kind = unpack(grant)
  local was_plain = kind == "plain"
  local rested_at, free_at = two_clocks(wan, ended_at, how, tonumber(rest_ms), tonumber(earlier_free_at), was_plain)
  local is_plain = SEEN_PLAIN[how] or was_plain and (how == "unused" or how == "drained" or UNSEEN[how])
  local word, holder, secret = KEPT_AS[how] or how, string.match(lease_id, "^(.*)/(.*)$")
  if TOLD[word] then
    wan.told = wan.told or {ports = {}, about = redis.call("HMGET", LEASE .. port, "label", "host"), who = holder, network = network}
    wan.told.ports[#wan.told.ports + 1] = port
  end
  redis.call("ZREM", LEASED, port)
  redis.call("DEL", LEASE .. port)
  redis.call("HDEL", HELD .. holder, secret)
  wan.writes[#wan.writes + 1] = port
  wan.writes[#wan.writes + 1] = lease_id .. " " .. fence .. " " .. network .. " " .. rest_ms .. " " .. int(free_at)
    .. " " .. word .. (is_plain and " plain" or "")
  wan.ended[word] = (wan.ended[word] or 0) + 1
  if free_at <= wan.now_ms then
    redis.call("SADD", FREE, port)
  else
    wan.due_ms = math.min(wan.due_ms, free_at)
    redis.call("ZADD", COOLING, free_at, port)
    if rested_at then redis.call("ZADD", RESTING .. network, rested_at, port) end
  end
  if wan.max_per_network > 0 then redis.call("HINCRBY", NETWORKS, network, -1) end
  if wan.leaving > 0 and depart(wan, port, network) then
    wan.writes[#wan.writes], wan.writes[#wan.writes - 1] = nil, nil -- nothing is remembered of what is no port of the WAN
  end
  if wan.waiting > 0 then
    local plain_at = rested_at and (is_plain and rested_at or rested_at + TIME_WAIT_MS) or free_at
    wake(wan, network, rested_at or free_at, free_at, nil, math.min(plain_at, free_at))
  end
  return word
end
