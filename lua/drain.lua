-- Grants nothing new on a WAN; running leases live on.
-- Reply {"DRAINED"}
-- @include "keys"
-- @include "int"
-- @include "wan"
saw("state", "draining")
return {"DRAINED"}
