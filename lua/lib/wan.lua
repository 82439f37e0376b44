-- Opens the WAN: its rules and its time. Returns it; or nil, and the reply of a script that cannot go on. {"STEPPED"} wants
-- the caller to ask again. What follows are the values of `...`, fields of `grants` that a script reads besides.
-- The rules stand in `config`, and most of them once more, as one text, beside the grants, where they cost less to read.
-- The time of a WAN is the server's clock without its steps: a step back shows against the time last seen, a step ahead
-- against the caller's boot clock (`asked_clock` names it or is "", `boot_ms` is its time). A request that was long on its
-- way looks like a step: so only one that was asked again, with "!" behind the name, counts. What a clock shows is noted by
-- the quickest request, which then counts less at the pace at which clocks may drift apart.
local function open_wan(asked_clock, boot_ms, ...)
  local PROTOCOL, STEP_MS, NAME, DRIFT = "4", 1000, 12, 0.001
  local clock_name, clock = string.sub(asked_clock, 1, NAME), "clock:" .. string.sub(asked_clock, 1, 2)
  local first = redis.call("HMGET", key.config, "protocol", "state", "grace_until_ms")
  if first[1] ~= PROTOCOL then return nil, first[1] and {"OTHER_PROTOCOL", first[1]} or {"NOT_DEFINED"} end
  local state, grace_until_ms, is_new = first[2], tonumber(first[3]), false
  if state == "filling" or state == "removing" then return nil, {"NOT_DEFINED"} end
  local found = redis.call("HMGET", key.grants, "rules", "seen_ms", "due_ms", "fence", clock, ...)
  local rules = found[1]
  if rules and string.sub(rules, 1, 2) == '["' then
    rules = cjson.decode(rules)
  else -- nobody has written them there yet
    is_new = true
    rules = redis.call("HMGET", key.config, "source", "on_failover", "generation", "cooldown_ms", "lease_ttl_ms", "max_ttl_ms",
      "failover_margin_ms", "ahead_ms", "rejects_until", "epoch", "waiting", "leaving", "max_per_network")
    for i = 4, 13 do rules[i] = tonumber(rules[i]) or 0 end
  end
  local time = redis.call("TIME")
  local seen_ms, ahead_ms, is_stepped, is_noted = tonumber(found[2] or 0), rules[8], false, asked_clock == ""
  local server_ms, at_ms = time[1] * 1000 + (time[2] - time[2] % 1000) / 1000, math.huge
  local now_ms = server_ms - ahead_ms
  if now_ms < seen_ms then
    if now_ms < seen_ms - STEP_MS then ahead_ms, is_stepped = server_ms - seen_ms, true end
    now_ms = seen_ms
  elseif found[5] then
    local name, noted_boot_ms, noted_ms = string.match(found[5], "^(%S+) (%d+) (%d+)$")
    if name == clock_name then
      local elapsed_ms = boot_ms - noted_boot_ms
      -- no caller saw a step before the time last seen, so the step is no longer than since then
      local stepped_ms = math.min(now_ms - noted_ms - elapsed_ms, now_ms - seen_ms)
      if stepped_ms > STEP_MS and elapsed_ms >= 0 then
        if #asked_clock == NAME then return nil, {"STEPPED"} end
        ahead_ms, is_stepped = ahead_ms + stepped_ms, true
        now_ms = now_ms - stepped_ms
      end
      at_ms = noted_ms + elapsed_ms + math.floor(elapsed_ms * DRIFT)
      is_noted = is_noted or elapsed_ms < STEP_MS and now_ms >= at_ms
    end
  end
  local due_ms = tonumber(found[3] or 0)
  local wan = {now_ms = now_ms, seen_ms = seen_ms, due_ms = due_ms, was_due_ms = due_ms, ahead_ms = ahead_ms,
    writes = {}, ended = {}, server_us = time[1] * 1000000 + time[2], fence = tonumber(found[4] or 0),
    grace_ms = math.max(0, grace_until_ms - now_ms),
    source = rules[1], on_failover = rules[2], generation = rules[3], cooldown_ms = rules[4], lease_ttl_ms = rules[5],
    max_ttl_ms = rules[6], failover_margin_ms = rules[7], rejects_until = rules[9], epoch = rules[10], waiting = rules[11],
    leaving = rules[12], max_per_network = rules[13], state = state, grace_until_ms = grace_until_ms,
    is_quiet = state == "open" and rules[11] + rules[12] + rules[13] == 0, is_asked_again = #asked_clock > NAME,
    is_stepped = is_stepped, is_changed = is_new,
    has_begun = false, has_moved = false, clock = clock, clock_text = not is_noted and
    clock_name .. " " .. boot_ms .. " " .. math.min(now_ms, at_ms)}
  return wan, nil, unpack(found, 6)
end
