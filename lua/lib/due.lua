-- Whether there is anything to settle: expired leases, or ports that have cooled. In a grace there is not.
local function is_due(wan) return wan.grace_ms == 0 and wan.now_ms >= wan.due_ms end
