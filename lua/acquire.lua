-- Leases ports of a WAN to a holder: its network's own rested ports first, the most recently rested before the others,
-- then free ones.
-- ARGV 1 holder  2 network  3 its rest in ms  4 host  5 pid  6 label  7 ttl in ms, or "" for the WAN's
--   8 "", or for how many ms at most the caller waits before it asks again: it then gets a place in the queue
--   9 "" or the wanted port  10 ports to avoid, comma-separated  11 the least number of ports that will do
--   12... a lease_id for each port
-- Reply {"GRANTED", now, expires_at, max_ttl_ms, port, fence, port, fence, ...} in the order of the lease_ids; the same
--   again when they are known, with port 0 for each that was not granted or has ended
--   {"EXHAUSTED", ms until a port is free by itself or -1, ms after which to ask again}
--   {"CAPPED", -1, ms after which to ask again, max_per_network}
--   {"UNAVAILABLE", state of the wanted port, ms until it is free or -1}  {"NOT_IN_RANGE"}
--   {"MORE"} due ports are left to settle: ask again at once  {"DRAINING"}  {"TTL", max_ttl_ms}
-- @include "keys"
-- @include "int"
-- @include "wan"
-- @include "grant"
-- @include "queue"
-- @include "wake"
-- @include "finish"
-- @include "settle"
-- @include "leave"
-- @include "wait"
-- @include "forecast"
-- @include "again"
-- @include "choose"
-- @include "iso"
-- @include "take"
local SETTLE, SOONEST_MS = 32, 10
local network, wait_ms, wanted, least = ARGV[2], tonumber(ARGV[8]), ARGV[9], tonumber(ARGV[11])
local ids = {unpack(ARGV, 12)}
local count = #ids

local again = same_answer(ids)
if again then return again end
if wan.state ~= "open" then return {"DRAINING"} end
local ttl_ms = tonumber(ARGV[7]) or wan.lease_ttl_ms
if ttl_ms > wan.max_ttl_ms then return {"TTL", wan.max_ttl_ms} end

saw() -- a full Redis refuses this write, and with it the call, before anything has changed
local _, more = settle(SETTLE + count)

local function refuse(word, free_at, ...)
  local back_ms = math.min(wait_ms or 0, math.max((free_at or math.huge) - now_ms(), SOONEST_MS))
  if wait_ms then
    enqueue(ids[1], network, now_ms() + back_ms)
  elseif wan.waiting > 0 then
    leave(ids[1])
  end
  return {word, free_at and math.max(0, free_at - now_ms()) or -1, back_ms, ...}
end

if wan.max_per_network > 0 then
  count = math.min(count, wan.max_per_network - (redis.call("HGET", key.networks, network) or 0))
  if count < least then return refuse("CAPPED", nil, wan.max_per_network) end
end
if wanted ~= "" then
  if is_free_to(wanted, network) then
    leave_cooling({wanted}, network)
    redis.call("SREM", key.free, wanted)
    return take({wanted}, ids, ttl_ms)
  end
  local state = state_of(wanted)
  if not state then return {"NOT_IN_RANGE"} end
  if more then return {"MORE"} end
  local free_at = forecast_port(wanted, network)
  return {"UNAVAILABLE", state, free_at and math.max(0, free_at - now_ms()) or -1}
end

local all, mine = ahead_of(ids[1], network)
local own, fresh = choose(count, network, all, mine)
if #own + fresh < least then
  if more then return {"MORE"} end
  local free_at = math.min(forecast(network, all, mine) or math.huge, kept_until(network, all))
  return refuse("EXHAUSTED", free_at < math.huge and free_at or nil)
end
if wan.waiting > 0 then leave(ids[1]) end
leave_cooling(own, network)
pop_free(fresh, own)
return take(own, ids, ttl_ms)
