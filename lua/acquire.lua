-- Leases ports of a WAN to a holder: its network's own rested ports, the most recently rested first, then free ones.
-- ARGV 1 boot clock  2 its time in ms  3 holder  4 network  5 its rest in ms  6 host  7 pid  8 label
--   9 ttl in ms, or "" for the WAN's
--   10 "", or for how many ms at most the caller waits before it asks again: it then gets a place in the queue
--   11 "" or the wanted port  12 ports to avoid, comma-separated, 1,000 at most  13 the least number of ports that will do
--   14 how many due ports to settle besides, 128 at most  15 "" or the generation of the WAN that the caller knew
--   16 "plain" for sockets without SO_REUSEADDR, or ""  17... a lease_id for each port
-- Reply {"GRANTED", now, expires_at, max_ttl_ms, lease_ttl_ms, generation, port, fence, port, fence, ...} in the order of the
--   lease_ids; the same again when they are known, with port 0 for each that was not granted or has ended
--   {"EXHAUSTED", ms until a port is free without a release or -1, ms after which to ask again, how many plain sockets miss}
--   {"CAPPED", -1, ms after which to ask again, max_per_network}
--   {"REJECTING", ms until the network may have a free port again, ms after which to ask again}
--   {"UNAVAILABLE", state of the wanted port, ms until it is free or -1}  {"NOT_IN_RANGE"}
--   {"MORE"} due ports are left to settle: ask again at once  {"DRAINING"}  {"TTL", max_ttl_ms}
--   {"GRACE", ms until something may be granted again, when that is}
-- @include "keys"
-- @include "int"
-- @include "wan"
local MOST_SETTLED, SOONEST_MS, MOST_AVOIDED = 128, 10, 1000
local network, wait_ms, wanted, least = ARGV[4], tonumber(ARGV[10]), ARGV[11], tonumber(ARGV[13])
local is_plain, ids, ticket = ARGV[16] == "plain", {unpack(ARGV, 17)}, ARGV[17]
local count, known = #ids, redis.call("HMGET", IDS, unpack(ARGV, 17))
for asked = 1, count do
  -- @include "grant"
  -- @include "again"
end
if state ~= "open" then return {"DRAINING"} end
local ttl_ms = tonumber(ARGV[9]) or tonumber(config[10])
if ttl_ms > max_ttl_ms then return {"TTL", max_ttl_ms} end
if ARGV[15] ~= config[20] and ARGV[15] ~= "" then
  -- @include "succeeds"
end
-- @include "grace"

-- A full Redis refuses this write, and with it the call, before anything has changed.
local fence = math.max(time[1] * 1000000 + time[2], config[6] + 1)
-- @include "pace"
saw("fence", fence + count - 1, "granted", int(granted + count), "pace", pace)
local more = false
-- @include "due"
if is_due then
  -- @include "grant"
  local depart, wake
  if leaving > 0 then
    -- @include "depart"
  end
  if waiting > 0 then
    -- @include "queue"
    -- @include "wake"
  end
  -- @include "clocks"
  -- @include "finish"
  -- @include "settle"
  local _, left = settle(math.min(tonumber(ARGV[14]), MOST_SETTLED) + count)
  more = left
end

local all, mine, plain_ahead, ports, cools_until, kept, fresh, avoid, till_ms = 0, 0, 0, {}, {}, {}, 0, {}, nil
local function shun(port) avoid[#avoid + 1] = port; avoid[port] = true end
for port in string.gmatch(ARGV[12], "%d+") do if #avoid < MOST_AVOIDED then shun(port) end end
if waiting > 0 then
  local wake
  -- @include "queue"
  -- @include "wake"
  -- @include "leave"
  -- @include "ahead"
end
if max_per_network > 0 then
  count = math.min(count, max_per_network - (redis.call("HGET", NETWORKS, network) or 0) - mine)
end
if count >= least then
  if wanted == "" then
    if is_plain or plain_ahead > 0 then
      -- @include "grant"
      -- @include "plain"
      -- @include "plain_ports"
      kept = plain_ports(is_plain and count + mine + #avoid or plain_ahead)
    end
    -- @include "own"
    if fresh > 0 and tonumber(config[13] or 0) > now_ms then
      -- @include "rejecting"
      till_ms = rejecting_until(network)
      if till_ms then fresh = 0 end
    end
  else
    -- @include "queue"
    -- @include "grant"
    -- @include "clocks"
    -- @include "plain"
    -- @include "forecast"
    -- @include "wanted"
  end
end
if #ports + fresh < least then
  local wake
  -- @include "queue"
  -- @include "wake"
  -- @include "leave"
  -- @include "grant"
  -- @include "clocks"
  -- @include "plain"
  -- @include "forecast"
  -- @include "refuse"
end

if waiting > 0 then
  -- @include "leave"
  leave(ticket)
end
if #ports > 0 then
  redis.call("ZREM", COOLING, unpack(ports))
  redis.call("ZREM", RESTING .. network, unpack(ports))
end
if fresh == 1 and #avoid == 0 then
  ports[#ports + 1] = redis.call("SPOP", FREE)
elseif fresh > 0 then
  -- @include "free"
end
-- @include "iso"
-- @include "take"
