-- Grants nothing new on a WAN; running leases live on.
-- ARGV 1 boot clock  2 its time in ms  3 who says so, for people
-- Reply {"DRAINED", 1; or 0 if it was draining}
-- @include "keys" "int" "wan" "server" "saw" "change" "epoch" "events"
local wan, refusal = open_wan(ARGV[1], ARGV[2])
refusal = refusal or look_at_server(wan)
if refusal then return refusal end
local is_new = wan.state ~= "draining"
if is_new then
  change(wan, "state", "draining")
  next_epoch(wan)
  tell("drained", 1, nil, "who", ARGV[3])
end
saw(wan)
return {"DRAINED", is_new and 1 or 0}
