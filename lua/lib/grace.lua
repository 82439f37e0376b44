-- The reply while a grace lasts, noting one that begins; also a step back of the clock, or time would stand still until
-- the clock has caught up, and the grace with it, as long as nobody renews a lease. Nil when there is none.
local function in_grace(wan)
  if wan.grace_ms == 0 then return nil end
  local new_until_ms = not wan.has_begun and redis.call("HGET", key.config, "new_until_ms")
  if wan.has_begun or wan.is_stepped then saw(wan) end
  local is_new = new_until_ms and tonumber(new_until_ms) == wan.grace_until_ms
  return {"GRACE", wan.grace_ms, wan.now_ms + wan.grace_ms, is_new and "new" or ""}
end
