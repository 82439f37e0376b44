-- Ends the script while a grace lasts, and notes one that begins.
if grace_ms > 0 then
  if has_begun then saw() end
  return {"GRACE", grace_ms, now_ms + grace_ms}
end
