-- Writes what a script leaves to the end: the time seen, grants, rules. `change` writes rules to `config`, for people, and
-- `saw` the text of all rules, from which the scripts read them.
local HOUR_IN_MS, MOST_GRACES, COUNTERS = 3600000, 60, PREFIX .. "counters"
local HOWS = "released drained reset time_wait unused rejected revoked reaped expired"
local function change(wan, ...)
  local changes = {...}
  redis.call("HSET", CONFIG, ...)
  for i = 1, #changes, 2 do
    local name = changes[i]
    local is_word = string.find(" " .. TEXTS .. " ", " " .. name .. " ", 1, true)
    if is_word or string.find(" " .. NUMBERS .. " ", " " .. name .. " ", 1, true) then
      wan[name] = is_word and changes[i + 1] or tonumber(changes[i + 1])
      wan.is_changed = true
    end
  end
end
-- Kept ports are looked at again when this number changes.
local function next_epoch(wan) change(wan, "epoch", int(wan.epoch + 1)) end
local function count_waiting(wan, waiting)
  local was = wan.waiting
  if waiting == was then return end
  change(wan, "waiting", waiting)
  if (was == 0) ~= (waiting == 0) then next_epoch(wan) end
end
-- Once a second the counters go from the grants, where a call counts without a command more, to where people look; and every
-- 10 s or more the pace of grants is noted: when, and how many there were, at the last two looks.
local function tally(wan)
  local names, told = {"granted"}, {}
  for how in string.gmatch(HOWS, "%S+") do names[#names + 1] = "ended:" .. how end
  local counts = redis.call("HMGET", GRANTS, "pace", unpack(names))
  local pace = counts[1] or "0 0 0 0"
  for i, name in ipairs(names) do
    if counts[1 + i] then told[#told + 1], told[#told + 2] = name, counts[1 + i] end
  end
  if #told > 0 then redis.call("HSET", COUNTERS, unpack(told)) end
  local last = string.match(pace, "%d+ %d+$")
  if wan.now_ms - string.match(last, "^%d+") >= 10000 then
    redis.call("HSET", GRANTS, "pace", last .. " " .. int(wan.now_ms) .. " " .. (counts[2] or 0))
  end
end
-- What a grace leaves; and fences go on beyond those that the data has forgotten, also by a clock that is late.
local function note_grace(wan)
  local graces, whole_ms = {wan.grace_ms > 0 and int(wan.now_ms) or nil}, wan.max_ttl_ms + wan.failover_margin_ms
  for at_ms in string.gmatch(redis.call("HGET", CONFIG, "graces") or "", "%d+") do
    if wan.now_ms - at_ms < HOUR_IN_MS and #graces < MOST_GRACES then graces[#graces + 1] = at_ms end
  end
  wan.fence = wan.fence + 1000 * whole_ms
  local added_ms = math.max(0, wan.now_ms + wan.grace_ms - math.max(wan.grace_until_ms, wan.now_ms))
  change(wan, "grace_until_ms", int(wan.now_ms + wan.grace_ms), "graces", table.concat(graces, " "))
  if added_ms > 0 then
    redis.call("HINCRBY", COUNTERS, "graces", 1)
    redis.call("HINCRBY", COUNTERS, "grace_ms", int(added_ms))
    redis.call("XADD", PREFIX .. "events", "MAXLEN", "~", "1000", "*", "what", "grace", "count", 1, "why",
      "the data may be older than the grants", "for_ms", int(wan.grace_ms))
  end
end
-- Of counters that a script has read, the new value is written beside the rest.
local function saw(wan)
  local writes = wan.writes
  if wan.has_moved then change(wan, "source", wan.source, "run_id", wan.run_id) end
  if wan.has_begun then
    note_grace(wan)
    writes[#writes + 1], writes[#writes + 2] = "fence", int(wan.fence)
  end
  if wan.is_stepped then change(wan, "ahead_ms", int(wan.ahead_ms)) end
  if wan.due_ms ~= wan.was_due_ms then
    writes[#writes + 1], writes[#writes + 2] = "due_ms", wan.due_ms == math.huge and "1e16" or int(wan.due_ms)
  end
  if wan.clock then writes[#writes + 1], writes[#writes + 2] = wan.clock, wan.clock_text end
  if wan.is_changed then
    local rules = {is_quiet = wan.state == "open" and wan.waiting + wan.leaving + wan.max_per_network == 0}
    for name in string.gmatch(TEXTS .. " " .. NUMBERS, "%S+") do rules[name] = wan[name] end
    writes[#writes + 1], writes[#writes + 2] = "rules", cjson.encode(rules)
  end
  for how, count in pairs(wan.ended) do
    local before = wan.counts and wan.counts[how]
    if before then
      writes[#writes + 1], writes[#writes + 2] = "ended:" .. how, int(before + count)
    else
      redis.call("HINCRBY", GRANTS, "ended:" .. how, count)
    end
  end
  redis.call("HSET", GRANTS, "seen_ms", int(wan.now_ms), unpack(writes))
  if math.floor(wan.now_ms / 1000) > math.floor(wan.seen_ms / 1000) then tally(wan) end
  wan.has_moved, wan.has_begun, wan.is_stepped, wan.is_changed, wan.clock, wan.counts = nil, nil, nil, nil, nil, nil
  wan.was_due_ms, wan.seen_ms, wan.writes, wan.ended = wan.due_ms, wan.now_ms, {}, {}
end
