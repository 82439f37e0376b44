-- Ends leases on an operator's word; the ports cool as if they had been released now.
-- ARGV 1 boot clock  2 its time in ms  3 who revokes, for people, then for each lease: port or "", lease_id
-- Reply {"REVOKED", now, for each lease how it ended, now or before, or "gone" when nothing is known of it any more}
-- @include "keys" "int" "grant" "wan" "server" "saw" "change" "epoch" "events" "told" "queue" "wake" "depart" "equip" "clocks"
-- @include "finish" "end_asked"
local FIRST, ports, ids = 4, {}, {}
for i = FIRST, #ARGV, 2 do ports[#ports + 1], ids[#ids + 1] = ARGV[i], ARGV[i + 1] end
local opened = {open_wan(ARGV[1], ARGV[2], unpack(ports))}
local wan, refusal = opened[1], opened[2]
refusal = refusal or look_at_server(wan)
if refusal then return refusal end
equip(wan)
local answer = {"REVOKED", wan.now_ms}
local function how(_, _, free_at) return "revoked", free_at end
local ended = end_asked(wan, ports, ids, {unpack(opened, 3, 2 + #ports)}, nil, "gone", answer, how)
if #ended > 0 then
  next_epoch(wan)
  tell_ended(wan, "revoked", "who", ARGV[3])
  saw(wan)
end
return answer
