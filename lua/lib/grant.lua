-- What `grants` remembers of a port: lease_id, fence, network, rest_ms, free_at, how it ended or "live", and "plain" or "":
-- whether a plain socket, without SO_REUSEADDR, may have it; of a live one, whether it was granted for such a socket.
-- Nothing of a port that was never leased. What is there and cannot be read was written by another hand: "unreadable".
local function read_grant(text)
  if not text then return end
  local lease_id, fence, network, rest_ms, free_at, how, kind =
    string.match(text, "^(%S+) (%d+) (%S+) (%d+) (%d+) (%S+) ?(%l*)$")
  if not lease_id or not string.find(lease_id, "/", 1, true) then return "?/?", "0", "?", "0", "0", "unreadable", "" end
  return lease_id, fence, network, rest_ms, free_at, how, kind
end
