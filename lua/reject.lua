-- Gives back leases whose port the holder's OS refused: nobody gets such a port during the quarantine.
-- ARGV 1 boot clock  2 its time in ms, then for each lease: port or "", lease_id
-- Reply {"REJECTED", now, for each lease how it ended, now or before, or "gone" when nothing is known of it any more}
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
local how, first, step, answer = "rejected", 3, 2, {"REJECTED", now_ms}
-- @include "end_asked"
if has_ended then saw() end
return answer
