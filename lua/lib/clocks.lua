-- From when on its own network may have a port again, and from when on everybody may. Where nobody looked how a plain
-- socket's connection ended, it may linger and keep others with SO_REUSEADDR away, too.
local function two_clocks(wan, ended, how, rest_ms, earlier_free_at, is_plain)
  local RESET_MS, TIME_WAIT_MS, cooldown_ms = 15000, 65000, wan.cooldown_ms
  local rested_at, free_at = ended + rest_ms, ended + math.max(cooldown_ms, rest_ms)
  if how == "released" then
    return rested_at, math.max(free_at, earlier_free_at)
  elseif how == "unused" or how == "lingers" then
    rested_at, free_at = ended, 0
  elseif how == "drained" then
    rested_at, free_at = ended, ended + cooldown_ms
  elseif how == "reset" then
    free_at = ended + math.max(math.min(cooldown_ms, RESET_MS), rest_ms)
  elseif is_plain and (how == "expired" or how == "reaped" or how == "revoked" or how == "unseen") then
    rested_at = ended + math.max(rest_ms, TIME_WAIT_MS)
  elseif how == "time_wait" then
    rested_at, free_at = ended + math.max(rest_ms, TIME_WAIT_MS), ended + math.max(cooldown_ms, rest_ms, TIME_WAIT_MS)
  elseif how == "rejected" then
    rested_at, free_at = nil, ended + redis.call("HGET", key.config, "quarantine_ms")
  end
  return rested_at, math.max(free_at, earlier_free_at)
end
