-- What `grants` remembers of a port: lease_id, fence, network, rest_ms, free_at, how it ended or "live".
local function read_grant(text) return string.match(text, "^(%S+) (%d+) (%S+) (%d+) (%d+) (%S+)$") end
