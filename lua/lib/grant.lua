-- What `grants` remembers of a port: lease_id, fence, network, rest_ms, free_at, how it ended or "live", and "plain" or "":
-- whether a plain socket, without SO_REUSEADDR, may have it; of a live one, whether it was granted for such a socket.
local function read_grant(text) return string.match(text, "^(%S+) (%d+) (%S+) (%d+) (%d+) (%S+) ?(%l*)$") end
