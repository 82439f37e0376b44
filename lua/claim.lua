-- Claims ports for a WAN, before it is defined; no two WANs of a namespace share a port.
-- ARGV 1 wan_idx  2 its ports, a list like 20000-21999,23000  3 a generation, should it be new
--   4 "claimed", "ready" once the WAN is defined, or "resized" to change the ports of a WAN that is
-- Reply {"CLAIMED", generation, "claimed" or "ready"}  {"OVERLAP", other wan_idx, first shared port, its ports}
--   {"DIFFERENT", the ports that it has}
-- @include "namespace"
local function ranges(ports)
  local list = {}
  for from, to in string.gmatch(ports, "(%d+)-?(%d*)") do
    list[#list + 1] = {tonumber(from), tonumber(to ~= "" and to or from)}
  end
  return list
end
local generation, stage = ARGV[3], ARGV[4]
local wans = redis.call("HGETALL", key.wans)
local mine = ranges(ARGV[2])
for i = 1, #wans, 2 do
  local ports, its_generation, its_stage = string.match(wans[i + 1], "^(%S+) (%S+) (%S+)$")
  if wans[i] == ARGV[1] then
    if stage ~= "resized" then
      if ports ~= ARGV[2] then return {"DIFFERENT", ports} end
      if its_stage == "ready" or stage == "claimed" then return {"CLAIMED", its_generation, its_stage} end
    end
    generation = its_generation
  else
    for _, theirs in ipairs(ranges(ports)) do
      for _, range in ipairs(mine) do
        local shared = math.max(range[1], theirs[1])
        if shared <= math.min(range[2], theirs[2]) then return {"OVERLAP", wans[i], shared, ports} end
      end
    end
  end
end
if stage == "resized" then stage = "ready" end
redis.call("HSET", key.wans, ARGV[1], ARGV[2] .. " " .. generation .. " " .. stage)
return {"CLAIMED", generation, stage}
