-- Lets a drained WAN grant again.
-- Reply {"OPENED"}
-- @include "keys"
-- @include "int"
-- @include "wan"
saw("state", "open")
return {"OPENED"}
