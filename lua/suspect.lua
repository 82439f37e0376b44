-- Begins a grace, after the death of a server whose data may lack the last grants while their holders live.
-- ARGV 1 boot clock  2 its time in ms
-- Reply {"GRACE", ms that it lasts}
-- @include "keys"
-- @include "int"
-- @include "wan"
begin_grace()
saw()
return {"GRACE", grace_ms}
