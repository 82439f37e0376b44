-- Gives leases back. Asking twice changes nothing, and is told the same.
-- ARGV 1 boot clock  2 its time in ms
--   3 how: "released"; "unseen" (nobody looked); "clean" (nothing of it lingers here); "drained" (its connection was read to
--   the end: no rest); "reset" (a short cool-down will do); "time_wait" (this system refuses the port for a minute);
--   "unused" (never connected: no rest, no cool-down); "lingers" (unused, for this system refuses it to plain sockets)
--   4 how many ms ago the use ended, then for each lease: port or "", lease_id
-- Reply {"RELEASED", now, for each lease how it ended, now or before, "gone" when nothing is known of it any more,
--   or "unsure" when a grace lasts: its grant may be lost, and a renewal will tell}
-- @include "keys"
-- @include "int"
-- @include "grant"
-- @include "wan"
-- @include "server"
-- @include "saw"
-- @include "events"
-- @include "queue"
-- @include "wake"
-- @include "depart"
-- @include "clocks"
-- @include "finish"
-- @include "end_asked"
local FIRST, said, ago_ms, ports, ids = 5, ARGV[3], tonumber(ARGV[4]), {}, {}
for i = FIRST, #ARGV, 2 do ports[#ports + 1], ids[#ids + 1] = ARGV[i], ARGV[i + 1] end
local word = KEPT_AS[said] or said
local opened = {open_wan(ARGV[1], ARGV[2], "ended:" .. word, unpack(ports))}
local wan, refusal, grants = opened[1], opened[2], {unpack(opened, 4, 3 + #ports)}
if not wan then return refusal end
wan.counts = {[word] = opened[3] or 0}

-- Who ends a lease that is in the data needs not know how old the data is: it ends in what was forgotten, too. But a lease
-- that is not there may have been forgotten, and one that ends unused may be an older one whose release was.
local is_known = word ~= "unused" and wan.grace_ms == 0
for i, lease_id in ipairs(ids) do
  is_known = is_known and grants[i] and string.sub(grants[i], 1, #lease_id + 1) == lease_id .. " "
end
if not is_known then
  refusal = look_at_server(wan)
  if refusal then return refusal end
end
if wan.grace_ms > 0 and word == "unused" then said = "released" end -- it may be one whose release was lost
local answer = {"RELEASED", wan.now_ms}
local function how(_, _, free_at) return said, free_at end
local ended = end_asked(wan, ports, ids, grants, nil, wan.grace_ms > 0 and "unsure" or "gone", answer, how)
if #ended > 0 then saw(wan) end
return answer
