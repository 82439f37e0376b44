-- What `grants` remembers of a port: who got it last, and from when on others may have it.
local function write_grant(grant)
  return table.concat({
    grant.lease_id, int(grant.fence), grant.network, int(grant.rest_ms), int(grant.free_at), grant.how}, " ")
end
local function read_grant(text)
  local lease_id, fence, network, rest_ms, free_at, how =
    string.match(text, "^(%S+) (%d+) (%S+) (%d+) (%d+) (%S+)$")
  return {
    lease_id = lease_id, fence = tonumber(fence), network = network, rest_ms = tonumber(rest_ms),
    free_at = tonumber(free_at), how = how, holder = string.match(lease_id, "^(.*)/"),
  }
end
