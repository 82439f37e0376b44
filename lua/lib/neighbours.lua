-- The holders that can see each other's processes: those of one PID namespace of one boot of one machine.
local function neighbours(boot_id, pid_namespace) return key.holders .. ":" .. boot_id .. ":" .. pid_namespace end
