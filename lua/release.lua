-- Gives leases back. Asking twice changes nothing, and is told the same.
-- ARGV 1 boot clock  2 its time in ms
--   3 how: "released"; "unseen" (nobody looked); "clean" (nothing of it lingers here); "drained" (its connection was read to
--   the end: no rest); "reset" (a short cool-down will do); "time_wait" (this system refuses the port for a minute);
--   "unused" (never connected: no rest, no cool-down); "lingers" (unused, for this system refuses it to plain sockets)
--   4 how many ms ago the use ended, then for each lease: port or "", lease_id
-- Reply {"RELEASED", now, for each lease how it ended, now or before, "gone" when nothing is known of it any more,
--   or "unsure" when a grace lasts: its grant may be lost, and a renewal will tell}
-- @include "keys" "int" "grant" "wan" "saw" "clocks" "finish"
local FIRST, how, ports, ids = 5, ARGV[3], {}, {}
for i = FIRST, #ARGV, 2 do ports[#ports + 1], ids[#ids + 1] = ARGV[i], ARGV[i + 1] end
local word = (how == "clean" or how == "unseen") and "released" or how == "lingers" and "unused" or how
local opened = {open_wan(ARGV[1], ARGV[2], "ended:" .. word, unpack(ports))}
local wan, refusal, grants = opened[1], opened[2], {unpack(opened, 4, 3 + #ports)}
if not wan then return refusal end
wan.counts = {[word] = opened[3] or 0}
local answer, ago_ms = {"RELEASED", wan.now_ms}, tonumber(ARGV[4])

-- What nearly every call is: live leases of a WAN in which nothing is due, and nothing else is special. Who ends a lease that
-- is in the data needs not know how old the data is: it ends in what was forgotten, too. But a lease that is not there may
-- have been forgotten, and one that ends unused may be an older one whose release was.
local is_usual = wan.is_quiet and wan.grace_ms == 0 and wan.now_ms < wan.due_ms and word ~= "unused"
for i, lease_id in ipairs(ids) do
  local is_it = is_usual and grants[i] and string.sub(grants[i], 1, #lease_id + 1) == lease_id .. " "
  is_usual = is_it and string.find(grants[i], " live", -10, true) and not grants[lease_id]
  grants[lease_id] = true -- one that is asked for twice is not usual
end
if is_usual then
  for i, port in ipairs(ports) do
    local lease_id, fence, network, rest_ms, free_at, _, kind = read_grant(grants[i])
    answer[2 + i] = finish(wan, port, wan.now_ms - ago_ms, how, lease_id, fence, network, rest_ms, free_at, kind)
  end
  saw(wan)
  return answer
end
-- @include "server" "change" "queue" "wake" "depart" "equip" "end_asked"
equip(wan)
refusal = look_at_server(wan)
if refusal then return refusal end
if wan.grace_ms > 0 and word == "unused" then how = "released" end -- it may be one whose release was lost
local function as_asked(_, _, free_at) return how, free_at end
local ended = end_asked(wan, ports, ids, grants, nil, wan.grace_ms > 0 and "unsure" or "gone", answer, as_asked, ago_ms)
if #ended > 0 then saw(wan) end
return answer
