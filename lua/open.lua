-- Lets a drained WAN grant again.
-- ARGV 1 boot clock  2 its time in ms
-- Reply {"OPENED"}
-- @include "keys"
-- @include "int"
-- @include "wan"
saw("state", "open")
return {"OPENED"}
