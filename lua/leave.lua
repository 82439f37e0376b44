-- Gives up places in the queue. A waiter that leaves may have been called for a port: the call goes on to the next.
-- ARGV 1 boot clock  2 its time in ms, then a ticket (the first lease_id of the acquire) each
-- Reply {"LEFT"}
-- @include "keys" "int" "wan" "server" "saw" "change" "epoch" "queue" "wake" "leave"
local wan, refusal = open_wan(ARGV[1], ARGV[2])
refusal = refusal or look_at_server(wan)
if refusal then return refusal end
local before = wan.waiting
for i = 3, #ARGV do
  local network = leave(wan, ARGV[i])
  wan.queue = nil
  wake(wan, network or "", wan.now_ms, wan.now_ms)
end
if wan.waiting ~= before then saw(wan) end
return {"LEFT"}
