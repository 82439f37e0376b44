-- Grants nothing new on a WAN; running leases live on.
-- ARGV 1 boot clock  2 its time in ms
-- Reply {"DRAINED"}
-- @include "keys"
-- @include "int"
-- @include "wan"
saw("state", "draining")
return {"DRAINED"}
