-- Ends the script while a grace lasts, and notes one that begins; also a step back of the clock, or time would stand still
-- until the clock has caught up, and the grace with it, as long as nobody renews a lease.
if grace_ms > 0 then
  local is_new = not has_begun and redis.call("HGET", CONFIG, "new_until_ms") == config[18]
  if has_begun or ahead_ms ~= tonumber(config[4]) then saw() end
  return {"GRACE", grace_ms, now_ms + grace_ms, is_new and "new" or ""}
end
