-- Gives up places in the queue. A waiter that leaves may have been called for a port: the call goes on to the next.
-- ARGV 1 boot clock  2 its time in ms, then a ticket (the first lease_id of the acquire) each
-- Reply {"LEFT"}
-- @include "keys"
-- @include "int"
-- @include "wan"
-- @include "queue"
local wake
-- @include "wake"
-- @include "leave"
for i = 3, #ARGV do
  local network = leave(ARGV[i])
  queue = nil
  wake(network or "", now_ms, now_ms)
end
return {"LEFT"}
