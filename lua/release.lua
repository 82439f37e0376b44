-- Gives leases back. Asking twice changes nothing, and is told the same.
-- ARGV 1 boot clock  2 its time in ms
--   3 how: "released"; "unseen" (nobody looked); "clean" (nothing of it lingers here); "drained" (its connection was read to
--   the end: no rest); "reset" (a short cool-down will do); "time_wait" (this system refuses the port for a minute);
--   "unused" (never connected: no rest, no cool-down); "lingers" (unused, for this system refuses it to plain sockets)
--   then for each lease: port or "", lease_id
-- Reply {"RELEASED", now, for each lease how it ended, now or before, "gone" when nothing is known of it any more,
--   or "unsure" when a grace lasts: its grant may be lost, and a renewal will tell}
-- @include "keys"
-- @include "int"
-- @include "wan"
-- @include "grant"
local depart, wake
if leaving > 0 then
  -- @include "depart"
end
if waiting > 0 then
  -- @include "queue"
  -- @include "wake"
end
-- @include "clocks"
-- @include "finish"
local first, step, unknown, answer = 4, 2, grace_ms > 0 and "unsure" or "gone", {"RELEASED", now_ms}
local said = ARGV[3]
if grace_ms > 0 and (said == "unused" or said == "lingers") then said = "released" end -- it may be one whose release was lost
local function how(_, _, free_at) return said, free_at end
-- @include "end_asked"
if has_ended then saw() end
return answer
