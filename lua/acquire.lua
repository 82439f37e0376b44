-- Leases ports of a WAN to a holder: its network's own rested ports, the most recently rested first, then free ones.
-- ARGV 1 boot clock  2 its time in ms  3 holder  4 network  5 its rest in ms  6 host  7 pid  8 label
--   9 ttl in ms, or "" for the WAN's
--   10 "", or for how many ms at most the caller waits before it asks again: it then gets a place in the queue
--   11 "" or the wanted port  12 ports to avoid, comma-separated, 1,000 at most  13 the least number of ports that will do
--   14 how many due ports to settle besides, 128 at most  15 "" or the generation of the WAN that the caller knew
--   16 "plain" for sockets without SO_REUSEADDR, or ""  17... a lease_id for each port
-- Reply {"GRANTED", now, expires_at, max_ttl_ms, lease_ttl_ms, generation, epoch, port, fence, port, fence, ...} in the order of
--   the lease_ids; the same again when they are known, with port 0 for each that was not granted or has ended
--   {"EXHAUSTED", ms until a port is free without a release or -1, ms after which to ask again, how many plain sockets miss}
--   {"CAPPED", -1, ms after which to ask again, max_per_network}
--   {"REJECTING", ms until the network may have a free port again, ms after which to ask again}
--   {"UNAVAILABLE", state of the wanted port, ms until it is free or -1}  {"NOT_IN_RANGE"}
--   {"MORE"} due ports are left to settle: ask again at once  {"DRAINING"}  {"TTL", max_ttl_ms}
--   {"GRACE", ms until something may be granted again, when that is}
-- @include "keys" "int" "grant" "iso" "wan" "server" "saw" "take" "single"
local wan, refusal, granted = open_wan(ARGV[1], ARGV[2], "granted")
refusal = refusal or look_at_server(wan)
if refusal then return refusal end
local asked = {holder = ARGV[3], network = ARGV[4], rest_ms = ARGV[5], host = ARGV[6], pid = ARGV[7], label = ARGV[8],
  is_plain = ARGV[16] == "plain", ticket = ARGV[17], ids = {unpack(ARGV, 17)}}
asked.ttl_ms, wan.granted = tonumber(ARGV[9]) or wan.lease_ttl_ms, tonumber(granted or 0)

-- What nearly every call is: one port of a WAN in which nobody waits, nothing is due, and nothing else is special.
local is_usual = wan.is_quiet and #ARGV == 17 and ARGV[11] == "" and ARGV[12] == "" and wan.grace_ms == 0
  and wan.now_ms < wan.due_ms and asked.ttl_ms <= wan.max_ttl_ms and (ARGV[15] == wan.generation or ARGV[15] == "")
if is_usual then
  local port, cools_until = single(wan, asked.network, asked.is_plain)
  local secret = string.sub(asked.ticket, #asked.holder + 2)
  if port and redis.call("HSETNX", key.held .. asked.holder, secret, port) == 1 then
    if cools_until then
      redis.call("ZREM", key.cooling, port)
      redis.call("ZREM", key.resting .. asked.network, port)
    else
      redis.call("SREM", key.free, port)
    end
    return take(wan, asked, {port}, {[port] = cools_until}, true)
  end
end
-- @include "change" "epoch" "events" "told" "queue" "wake" "leave" "depart" "equip" "clocks" "finish" "settle" "due" "again"
-- @include "ahead" "plain" "plain_ports" "rejecting" "forecast" "refuse" "choose" "wanted" "grace" "contend"
equip(wan)
asked.wait_ms, asked.wanted, asked.avoid = tonumber(ARGV[10]), ARGV[11], ARGV[12]
asked.least, asked.settle, asked.known_generation = tonumber(ARGV[13]), tonumber(ARGV[14]), ARGV[15]
local ports, cools_until, answer = contend(wan, asked)
return answer or take(wan, asked, ports, cools_until)
