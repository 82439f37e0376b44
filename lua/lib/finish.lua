-- Ends a lease: its port goes where it belongs, by a first write that a full Redis allows. The grant is what `read_grant`
-- gave; `saw` writes what becomes of it. Returns how it ended, in the word that is kept. Where others wait, or ports leave,
-- `wan` has the functions for it (see lib/depart.lua).
local function finish(wan, port, ended_at, how, lease_id, fence, network, rest_ms, earlier_free_at, kind)
  local was_plain, writes, word = kind == "plain", wan.writes, how
  local rested_at, free_at = two_clocks(wan, ended_at, how, tonumber(rest_ms), tonumber(earlier_free_at), was_plain)
  local is_plain = how == "clean" or how == "reset" or how == "time_wait"
    or was_plain and how ~= "released" and how ~= "lingers" and how ~= "rejected"
  if how == "clean" or how == "unseen" then word = "released" elseif how == "lingers" then word = "unused" end
  local holder, secret = string.match(lease_id, "^(.*)/(.*)$")
  if word == "revoked" or word == "reaped" or word == "rejected" or word == "expired" then
    local about = not wan.told and redis.call("HMGET", key.lease .. port, "label", "host")
    wan.told = wan.told or {ports = {}, about = about, who = holder, network = network}
    wan.told.ports[#wan.told.ports + 1] = port
  end
  redis.call("ZREM", key.leased, port)
  redis.call("DEL", key.lease .. port)
  redis.call("HDEL", key.held .. holder, secret)
  writes[#writes + 1] = port
  writes[#writes + 1] = lease_id .. " " .. fence .. " " .. network .. " " .. rest_ms .. " " .. free_at .. " " .. word
    .. (is_plain and " plain" or "")
  wan.ended[word] = (wan.ended[word] or 0) + 1
  if free_at <= wan.now_ms then
    redis.call("SADD", key.free, port)
  else
    wan.due_ms = math.min(wan.due_ms, free_at)
    redis.call("ZADD", key.cooling, free_at, port)
    if rested_at then redis.call("ZADD", key.resting .. network, rested_at, port) end
  end
  if wan.is_quiet then return word end
  if wan.max_per_network > 0 then redis.call("HINCRBY", key.networks, network, -1) end
  if wan.leaving > 0 and wan.depart(wan, port, network) then
    writes[#writes], writes[#writes - 1] = nil, nil -- nothing is remembered of what is no port of the WAN
  end
  if wan.waiting > 0 then
    local plain_at = rested_at and (is_plain and rested_at or rested_at + 65000) or free_at
    wan.wake(wan, network, rested_at or free_at, free_at, nil, math.min(plain_at, free_at))
  end
  return word
end
