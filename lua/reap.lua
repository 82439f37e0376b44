-- Ends leases of a dead process, those that are still as they were seen when it was found dead.
-- ARGV 1 boot clock  2 its time in ms  3 who reaps, for people, then for each lease: port, lease_id, expires_at as it was seen
-- Reply {"REAPED", now, for each lease how it ended, now or before, "live" when it was renewed since, or "gone" when
--   nothing is known of it any more}
-- @include "keys" "int" "grant" "wan" "server" "saw" "change" "events" "told" "queue" "wake" "depart" "equip" "clocks"
-- @include "finish" "end_asked"
local FIRST, ports, ids, seen = 4, {}, {}, {}
for i = FIRST, #ARGV, 3 do ports[#ports + 1], ids[#ids + 1], seen[#seen + 1] = ARGV[i], ARGV[i + 1], ARGV[i + 2] end
local opened = {open_wan(ARGV[1], ARGV[2], unpack(ports))}
local wan, refusal = opened[1], opened[2]
refusal = refusal or look_at_server(wan)
if refusal then return refusal end
equip(wan)
local answer = {"REAPED", wan.now_ms}
local function how(_, _, free_at) return "reaped", free_at end
local ended = end_asked(wan, ports, ids, {unpack(opened, 3, 2 + #ports)}, seen, "gone", answer, how)
if #ended > 0 then
  tell_ended(wan, "reaped", "who", ARGV[3], "why", "its process is dead")
  saw(wan)
end
return answer
