-- Ends leases of a dead process, those that are still as they were seen when it was found dead.
-- ARGV 1 boot clock  2 its time in ms, then for each lease: port, lease_id, expires_at as it was seen
-- Reply {"REAPED", now, for each lease how it ended, now or before, "live" when it was renewed since, or "gone" when
--   nothing is known of it any more}
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
local first, step, unknown, answer = 3, 3, "gone", {"REAPED", now_ms}
local function how(_, _, free_at) return "reaped", free_at end
-- @include "end_asked"
if has_ended then saw() end
return answer
