-- Writes what a script leaves to the end: the time seen, grants, and what is rare: rules that changed, a grace that begins.
-- Of a counter that a script has read, the new value is written beside the rest. Once a second the counters go to where people
-- look, and every 10 s or more the pace of grants is noted: when, and how many there were, at the last two looks.
local function saw(wan)
  local writes = wan.writes
  if wan.has_moved then redis.call("HSET", key.config, "source", wan.source, "run_id", wan.run_id) end
  if wan.has_begun then -- and fences go on beyond those that the data has forgotten, also by a clock that is late
    local HOUR_MS, MOST, counters = 3600000, 60, key.prefix .. "counters"
    local graces, until_ms = {wan.grace_ms > 0 and int(wan.now_ms) or nil}, wan.now_ms + wan.grace_ms
    for at_ms in string.gmatch(redis.call("HGET", key.config, "graces") or "", "%d+") do
      if wan.now_ms - at_ms < HOUR_MS and #graces < MOST then graces[#graces + 1] = at_ms end
    end
    redis.call("HSET", key.config, "grace_until_ms", int(until_ms), "graces", table.concat(graces, " "))
    redis.call("HINCRBY", counters, "graces", 1)
    redis.call("HINCRBY", counters, "grace_ms", int(until_ms - math.max(wan.grace_until_ms, wan.now_ms)))
    redis.call("XADD", key.prefix .. "events", "MAXLEN", "~", "1000", "*", "what", "grace", "count", 1, "why",
      "the data may be older than the grants", "for_ms", int(wan.grace_ms))
    wan.fence, wan.grace_until_ms = wan.fence + 1000 * (wan.max_ttl_ms + wan.failover_margin_ms), until_ms
    writes[#writes + 1], writes[#writes + 2] = "fence", int(wan.fence)
  end
  if wan.is_stepped then redis.call("HSET", key.config, "ahead_ms", int(wan.ahead_ms)) end
  if wan.is_changed or wan.is_stepped or wan.has_begun or wan.has_moved then
    wan.is_quiet = wan.state == "open" and wan.waiting + wan.leaving + wan.max_per_network == 0
    writes[#writes + 1], writes[#writes + 2] = "rules", cjson.encode({wan.source, wan.on_failover, wan.generation,
      wan.cooldown_ms, wan.lease_ttl_ms, wan.max_ttl_ms, wan.failover_margin_ms, wan.ahead_ms, wan.rejects_until, wan.epoch,
      wan.waiting, wan.leaving, wan.max_per_network})
  end
  if wan.due_ms ~= wan.was_due_ms then
    writes[#writes + 1], writes[#writes + 2] = "due_ms", wan.due_ms == math.huge and "1e16" or wan.due_ms
  end
  if wan.clock_text then writes[#writes + 1], writes[#writes + 2] = wan.clock, wan.clock_text end
  for how, count in pairs(wan.ended) do
    local before = wan.counts and wan.counts[how]
    if before then
      writes[#writes + 1], writes[#writes + 2] = "ended:" .. how, before + count
    else
      redis.call("HINCRBY", key.grants, "ended:" .. how, count)
    end
  end
  redis.call("HSET", key.grants, "seen_ms", wan.now_ms, unpack(writes))
  if wan.now_ms - wan.now_ms % 1000 > wan.seen_ms then
    local hows = "granted ended:released ended:drained ended:reset ended:time_wait ended:unused ended:rejected ended:revoked"
      .. " ended:reaped ended:expired"
    local names, told = {}, {}
    for name in string.gmatch(hows, "%S+") do names[#names + 1] = name end
    local counts = redis.call("HMGET", key.grants, "pace", unpack(names))
    for i, name in ipairs(names) do
      if counts[1 + i] then told[#told + 1], told[#told + 2] = name, counts[1 + i] end
    end
    if #told > 0 then redis.call("HSET", key.prefix .. "counters", unpack(told)) end
    local last = string.match(counts[1] or "0 0 0 0", "%d+ %d+$")
    if wan.now_ms - string.match(last, "^%d+") >= 10000 then
      redis.call("HSET", key.grants, "pace", last .. " " .. int(wan.now_ms) .. " " .. (counts[2] or 0))
    end
  end
  wan.has_moved, wan.has_begun, wan.is_stepped, wan.is_changed, wan.clock_text = false, false, false, false, false
  wan.was_due_ms, wan.seen_ms, wan.writes, wan.ended, wan.counts = wan.due_ms, wan.now_ms, {}, {}, nil
end
