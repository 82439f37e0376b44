-- Ends the script while a grace lasts, and notes one that begins.
if grace_ms > 0 then
  local is_new = not has_begun and redis.call("HGET", CONFIG, "new_until_ms") == config[18]
  if has_begun then saw() end
  return {"GRACE", grace_ms, now_ms + grace_ms, is_new and "new" or ""}
end
