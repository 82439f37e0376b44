-- What the world puts around each script of the package: its clock, its identity, and its dice for what a server does at
-- random or in no order; then it looks whether the WAN's data fit together. The last two ARGV are the world's:
--   its facts  the names of lists from which somebody waits to pop
-- Reply {the script's reply, what is wrong with the data or "", list, what was popped, ...}
local call, listening, facts = redis.call, table.remove(ARGV), table.remove(ARGV)
local us, dice, replid, second, run_id, role, replicas, offset, uptime, ran =
  string.match(facts, "^(%d+) (%d+) (%x+) (%x+) (%x+) (%l+) (%d+) (%d+) (%d+) ?(.*)$")
local TTLS, now_ms = "ttls", math.floor(us / 1000)
dice = tonumber(dice)
local function sorted(list) table.sort(list); return list end
local function pick(list) -- Park and Miller's dice, whose products a double holds
  dice = dice * 16807 % 2147483647
  return table.remove(list, dice % #list + 1)
end
local own = {}
function own.TIME() return {string.format("%.0f", math.floor(us / 1000000)), string.format("%.0f", us % 1000000)} end
function own.INFO(section)
  if section == "replication" then
    return "# Replication\r\nrole:" .. role .. "\r\nconnected_slaves:" .. replicas .. "\r\nmaster_replid:" .. replid
      .. "\r\nmaster_replid2:" .. second .. "\r\nmaster_repl_offset:" .. offset .. "\r\n"
  elseif section == "server" then
    return "# Server\r\nredis_mode:standalone\r\nrun_id:" .. run_id .. "\r\nuptime_in_seconds:" .. uptime .. "\r\n"
  end
  local told = "# Commandstats\r\n"
  for name in string.gmatch(ran, "%S+") do told = told .. "cmdstat_" .. name .. ":calls=1,usec=1\r\n" end
  return told
end
function own.SMEMBERS(name) return sorted(call("SMEMBERS", name)) end
function own.SPOP(name, count)
  local all, found = sorted(call("SMEMBERS", name)), {}
  for i = 1, math.min(count or 1, #all) do found[i] = pick(all) end
  if #found > 0 then call("SREM", name, unpack(found)) end
  if count then return found end
  return found[1] or false
end
function own.HRANDFIELD(name, count)
  local all, found = sorted(call("HKEYS", name)), {}
  for i = 1, math.min(count, #all) do found[i] = pick(all) end
  return found
end
function own.HGETALL(name)
  local fields, flat = sorted(call("HKEYS", name)), {}
  for _, field in ipairs(fields) do flat[#flat + 1], flat[#flat + 2] = field, call("HGET", name, field) end
  return flat
end
function own.SRANDMEMBER(name)
  local all = sorted(call("SMEMBERS", name))
  return #all > 0 and pick(all)
end
function own.HSCAN(name) return {"0", own.HGETALL(name)} end
-- An entry of a stream is named after the server's clock in the world; a clock that goes back adds to the last one.
function own.XADD(name, maxlen, about, most, _, ...)
  local last = call("XREVRANGE", name, "+", "-", "COUNT", 1)[1]
  local last_ms, n = string.match(last and last[1] or "0-0", "^(%d+)-(%d+)$")
  local id = now_ms > tonumber(last_ms) and string.format("%.0f-0", now_ms) or string.format("%s-%.0f", last_ms, n + 1)
  return call("XADD", name, maxlen, about, most, id, ...)
end
-- Times to live are by the server's clock in the world.
function own.PEXPIRE(name, ms)
  assert(tonumber(ms) == math.floor(ms), "PEXPIRE takes whole numbers")
  if call("EXISTS", name) == 0 then return 0 end
  call("ZADD", TTLS, string.format("%.0f", now_ms + ms), name)
  return 1
end
function own.PTTL(name)
  if call("EXISTS", name) == 0 then return -2 end
  local at = call("ZSCORE", TTLS, name)
  return at and at - now_ms or -1
end
local over = call("ZRANGEBYSCORE", TTLS, "-inf", now_ms)
if #over > 0 then call("DEL", unpack(over)); call("ZREM", TTLS, unpack(over)) end

local function script(redis)
  -- @script
end

local UNCHANGED = {STEPPED = true, HELD = true, SNAPSHOT = true, GRACE = true, NOT_DEFINED = true}
local function wrong(word)
  if #KEYS < 10 or UNCHANGED[word] then return "" end
  local config = call("HMGET", KEYS[1], "state", "ports", "leaving", "waiting", "max_per_network")
  if not config[1] or config[1] == "filling" or config[1] == "removing" then return "" end
  local prefix, places, leased, cooling, count = string.sub(KEYS[1], 1, -7), {}, {}, {}, 0
  local lists = {call("SMEMBERS", prefix .. "free"), call("SMEMBERS", prefix .. "withheld"),
    call("ZRANGE", prefix .. "leased", 0, -1), call("ZRANGE", prefix .. "cooling", 0, -1)}
  for i, list in ipairs(lists) do
    for _, port in ipairs(list) do
      if places[port] then return "port " .. port .. " is in two places" end
      places[port], count = i, count + 1
    end
  end
  for _, port in ipairs(lists[3]) do leased[port] = true end
  for _, port in ipairs(lists[4]) do cooling[port] = true end
  local removed, left, asked = {}, 0, call("HGETALL", prefix .. "leaving")
  for i = 1, #asked, 2 do
    local port = asked[i]
    if asked[i + 1] == "removed" then removed[port], left = true, left + 1 end
    if not leased[port] and not (cooling[port] and removed[port]) then return "port " .. port .. " leaves from nowhere" end
  end
  if tonumber(config[3]) ~= #asked / 2 then return "leaving is " .. config[3] .. ", not " .. #asked / 2 end
  local configured = 0
  for from, to in string.gmatch(config[2], "(%d+)-?(%d*)") do
    for port = tonumber(from), tonumber(to ~= "" and to or from) do
      local name = string.format("%.0f", port)
      configured = configured + 1
      if not places[name] then return "port " .. name .. " is nowhere" end
      if removed[name] then return "port " .. name .. " stays, and is removed" end
    end
  end
  if count ~= configured + left then return "there are " .. count .. " ports, not " .. configured + left end
  if word == "EXHAUSTED" or word == "UNAVAILABLE" or word == "LEFT" then return "" end -- the rest is as it was
  local grants, by_id, live = call("HGETALL", prefix .. "grants"), {}, 0
  local by_network = {}
  for _, name in ipairs(call("KEYS", prefix .. "held:*")) do
    local holder, held = string.sub(name, #prefix + 6), call("HGETALL", name)
    for i = 1, #held, 2 do
      by_id[held[i + 1]], live = holder .. "/" .. held[i], live + 1
      if not leased[held[i + 1]] then return "port " .. held[i + 1] .. " is held, and not leased" end
    end
  end
  if live ~= #lists[3] then return live .. " leases are held, not " .. #lists[3] end
  for i = 1, #grants, 2 do
    local port = grants[i]
    local lease_id, _, network, _, _, how = string.match(grants[i + 1], "^(%S+) (%d+) (%S+) (%d+) (%d+) (%S+)")
    if lease_id then
      if (how == "live") ~= (leased[port] or false) then return "port " .. port .. " is " .. how .. " in grants" end
      if how == "live" then
        if by_id[port] ~= lease_id then return "port " .. port .. " is held for another lease" end
        by_network[network] = (by_network[network] or 0) + 1
      end
    end
  end
  for _, name in ipairs(call("KEYS", prefix .. "resting:*")) do
    for _, port in ipairs(call("ZRANGE", name, 0, -1)) do
      if not cooling[port] or removed[port] then return "port " .. port .. " rests, and does not cool" end
    end
  end
  local queued = call("ZCARD", prefix .. "waiting") + call("ZCARD", prefix .. "capped")
  if tonumber(config[4]) ~= queued or call("HLEN", prefix .. "waiters") ~= queued then return "waiters miscounted" end
  if tonumber(config[5]) > 0 then
    local counts = call("HGETALL", prefix .. "networks")
    for i = 1, #counts, 2 do
      if tonumber(counts[i + 1]) ~= (by_network[counts[i]] or 0) then return "networks miscounted: " .. counts[i] end
    end
  end
  return ""
end

local reply = script(setmetatable({call = function(name, ...)
  local instead = own[name]
  if instead then return instead(...) end
  return call(name, ...)
end, pcall = function(name, ...)
  if own[name] then return own[name](...) end
  return redis.pcall(name, ...)
end}, {__index = redis}))
local answer = {reply, wrong(reply[1])}
for name in string.gmatch(listening, "%S+") do
  local popped = call("LPOP", name)
  if popped then answer[#answer + 1], answer[#answer + 2] = name, popped end
end
return answer
