-- Ends the live ones of the leases asked for: port, lease_id, and in a step of 3 the expires_at that it must have, from
-- ARGV[first] on; a port of "" is looked up. `how(lease_id, rest_ms, free_at)` says how each ends, and until when it
-- cools at least. Leaves in `answer` how each ended, now or before; `unknown` for those that nothing is known of.
local has_ended = false
for i = first, #ARGV, step do
  local port, asked_id, word = ARGV[i], ARGV[i + 1], unknown
  if port == "" then port = redis.call("HGET", IDS, asked_id) end
  local grant = port and redis.call("HGET", GRANTS, port)
  if grant then
    local lease_id, fence, network, rest_ms, free_at, was, kind = read_grant(grant)
    if lease_id == asked_id then
      word = was
      local expires_at = was == "live" and tonumber(redis.call("ZSCORE", LEASED, port))
      if expires_at and (step == 2 or expires_at == tonumber(ARGV[i + 2])) then
        word = "expired"
        if grace_ms > 0 then expires_at = math.huge end -- a renewal may be forgotten
        if expires_at > now_ms then word, free_at = how(lease_id, tonumber(rest_ms), tonumber(free_at)) end
        word = finish(port, math.min(expires_at, now_ms), word, lease_id, fence, network, rest_ms, free_at, was, kind)
        has_ended = true
      end
    end
  end
  answer[#answer + 1] = word
end
