-- Opens the WAN: its rules and its time. Returns it; or nil, and the reply of a script that cannot go on. {"STEPPED"} wants
-- the caller to ask again.
-- The rules stand in `config`, and once more, as one text, beside the grants: one command reads all that a call needs.
-- The time of a WAN is the server's clock without its steps: a step back shows against the time last seen, a step ahead
-- against the caller's boot clock (`asked_clock` names it or is "", `boot_ms` is its time). A request that was long on its
-- way looks like a step: so only one that was asked again, with "!" behind the name, counts. What a clock shows is noted by
-- the quickest request, which then counts less at the pace at which clocks may drift apart.
local PROTOCOL, STEP_MS, NAME, DRIFT = "4", 1000, 12, 0.001
local TEXTS = "protocol state on_failover source run_id generation"
local NUMBERS = "cooldown_ms lease_ttl_ms max_ttl_ms max_per_network failover_margin_ms ahead_ms grace_until_ms"
  .. " waiting leaving rejects_until epoch"
local function rules_of_config()
  local names, rules = {}, {}
  for name in string.gmatch(TEXTS .. " " .. NUMBERS, "%S+") do names[#names + 1] = name end
  for i, value in ipairs(redis.call("HMGET", CONFIG, unpack(names))) do rules[names[i]] = value or "" end
  for name in string.gmatch(NUMBERS, "%S+") do rules[name] = tonumber(rules[name]) or 0 end
  return rules
end
local function rules_of(text)
  local is_json, rules = pcall(cjson.decode, text or "")
  if is_json and type(rules) == "table" and rules.protocol == PROTOCOL then return rules end
  rules = rules_of_config()
  rules.is_changed = true
  return rules
end
local function open_wan(asked_clock, boot_ms, ...)
  local clock_name, clock = string.sub(asked_clock, 1, NAME), "clock:" .. string.sub(asked_clock, 1, 2)
  local found = redis.call("HMGET", GRANTS, "rules", "seen_ms", "due_ms", "fence", clock, ...)
  local wan = rules_of(found[1])
  if wan.protocol ~= PROTOCOL then
    return nil, wan.protocol ~= "" and {"OTHER_PROTOCOL", wan.protocol} or {"NOT_DEFINED"}
  end
  if wan.state == "filling" or wan.state == "removing" then return nil, {"NOT_DEFINED"} end
  local time = redis.call("TIME")
  local server_ms = time[1] * 1000 + math.floor(time[2] / 1000)
  local seen_ms, now_ms, at_ms, is_noted = tonumber(found[2] or 0), server_ms - wan.ahead_ms, math.huge, asked_clock == ""
  if now_ms < seen_ms then
    if now_ms < seen_ms - STEP_MS then wan.ahead_ms, wan.is_stepped = server_ms - seen_ms, true end
    now_ms = seen_ms
  elseif found[5] then
    local name, noted_boot_ms, noted_ms = string.match(found[5], "^(%S+) (%d+) (%d+)$")
    if name == clock_name then
      local elapsed_ms = boot_ms - noted_boot_ms
      -- no caller saw a step before the time last seen, so the step is no longer than since then
      local stepped_ms = math.min(now_ms - noted_ms - elapsed_ms, now_ms - seen_ms)
      if stepped_ms > STEP_MS and elapsed_ms >= 0 then
        if #asked_clock == NAME then return nil, {"STEPPED"} end
        wan.ahead_ms, wan.is_stepped = wan.ahead_ms + stepped_ms, true
        now_ms = now_ms - stepped_ms
      end
      at_ms = noted_ms + elapsed_ms + math.floor(elapsed_ms * DRIFT)
      is_noted = is_noted or elapsed_ms < STEP_MS and now_ms >= at_ms
    end
  end
  if not is_noted then wan.clock, wan.clock_text = clock, clock_name .. " " .. boot_ms .. " " .. int(math.min(now_ms, at_ms)) end
  wan.is_asked_again = #asked_clock > NAME
  wan.seen_ms, wan.now_ms, wan.server_us = seen_ms, now_ms, time[1] * 1000000 + time[2]
  wan.due_ms, wan.fence = tonumber(found[3] or 0), tonumber(found[4] or 0)
  wan.was_due_ms, wan.writes, wan.ended = wan.due_ms, {}, {}
  wan.grace_ms = math.max(0, wan.grace_until_ms - now_ms)
  return wan, nil, unpack(found, 6)
end
