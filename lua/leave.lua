-- Gives up places in the queue. Whoever leaves may have been called for a port: the call goes on to the next.
-- ARGV a ticket (the first lease_id of the acquire) each
-- Reply {"LEFT"}
-- @include "keys"
-- @include "int"
-- @include "wan"
-- @include "queue"
-- @include "wake"
-- @include "leave"
for _, ticket in ipairs(ARGV) do leave(ticket) end
for _ = 1, #ARGV do wake("", now_ms(), now_ms()) end
return {"LEFT"}
