-- Ends the live ones of the leases asked for as pairs port, lease_id from ARGV[first] on; a port of "" is looked up.
-- Replies {word, now, for each lease how it ended, now or before, or "unknown"}.
local function end_asked(word, how, first)
  local asked, reply, endings = {}, {word, now_ms()}, {}
  for i = first, #ARGV, 2 do
    local port = ARGV[i] ~= "" and ARGV[i] or redis.call("HGET", key.ids, ARGV[i + 1])
    if port then asked[#asked + 1] = {port = port, lease_id = ARGV[i + 1], at = 2 + (i - first) / 2 + 1} end
    reply[2 + (i - first) / 2 + 1] = "unknown"
  end
  judge(asked)
  local seen = {}
  for _, lease in ipairs(asked) do
    reply[lease.at] = lease.live and how or lease.how
    if lease.grant and lease.grant.how == "live" and not seen[lease.port] then
      seen[lease.port] = true
      local expired = not lease.live
      endings[#endings + 1] = ending(lease.port, lease.grant, expired and lease.expires_at or now_ms(),
        expired and "expired" or how)
    end
  end
  if #endings > 0 then
    finish(endings)
    saw()
  end
  return reply
end
