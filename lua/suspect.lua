-- Begins a grace, after the death of a server whose data may lack the last grants while their holders live.
-- ARGV 1 boot clock  2 its time in ms
-- Reply {"GRACE", ms that it lasts}
-- @include "keys" "int" "wan" "server" "saw"
local wan, refusal = open_wan(ARGV[1], ARGV[2])
refusal = refusal or look_at_server(wan)
if refusal then return refusal end
begin_grace(wan)
saw(wan)
return {"GRACE", wan.grace_ms}
