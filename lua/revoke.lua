-- Ends leases on an operator's word; the ports cool as if they had been released now.
-- ARGV 1 boot clock  2 its time in ms, then for each lease: port or "", lease_id
-- Reply {"REVOKED", now, for each lease how it ended, now or before, or "gone" when nothing is known of it any more}
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
local first, step, unknown, answer = 3, 2, "gone", {"REVOKED", now_ms}
local function how(_, _, free_at) return "revoked", free_at end
-- @include "end_asked"
if has_ended then saw() end
return answer
