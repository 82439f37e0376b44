-- Ends the live ones of the leases asked for, and adds to `answer` how each ended, now or before; `unknown` for those that
-- nothing is known of. `ports`, `ids` and `grants` go side by side; a port of "" is looked up. `seen` has the expires_at that
-- each must have, or is nil. `how(lease_id, rest_ms, free_at)` says how each ends, and until when it cools at least.
local function port_of(lease_id)
  local holder, secret = string.match(lease_id, "^(.*)/(.*)$")
  return holder and redis.call("HGET", key.held .. holder, secret)
end
local function end_asked(wan, ports, ids, grants, seen, unknown, answer, how, ago_ms)
  local words, ended_at = {}, {}
  for i, asked_id in ipairs(ids) do
    local port, text, word = ports[i], grants[i], words[asked_id] or unknown
    if port == "" then
      port = port_of(asked_id)
      text = port and redis.call("HGET", key.grants, port)
    end
    local grant = {read_grant(text)}
    if grant[1] == asked_id and not words[asked_id] then
      word = grant[6]
      local is_surely_live = word == "live" and not seen and wan.now_ms < wan.due_ms
      local expires_at = is_surely_live and math.huge or word == "live" and tonumber(redis.call("ZSCORE", key.leased, port))
      if expires_at and (not seen or expires_at == tonumber(seen[i])) then
        word = "expired"
        if wan.grace_ms > 0 then expires_at = math.huge end -- a renewal may be forgotten
        local _, fence, network, rest_ms, free_at, _, kind = unpack(grant)
        if expires_at > wan.now_ms then word, free_at = how(asked_id, tonumber(rest_ms), tonumber(free_at)) end
        local at = math.min(expires_at, wan.now_ms - (ago_ms or 0))
        word = finish(wan, port, at, word, asked_id, fence, network, rest_ms, free_at, kind)
        ended_at[#ended_at + 1], ended_at[asked_id] = port, port
      end
      words[asked_id] = word
    end
    answer[#answer + 1] = word
  end
  return ended_at
end
