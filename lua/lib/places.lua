-- Where each of these ports is: "free", "leased", "cooling", "withheld", or false if it does not belong to the WAN.
local function places_of(ports)
  local free = redis.call("SMISMEMBER", key.free, unpack(ports))
  local withheld = redis.call("SMISMEMBER", key.withheld, unpack(ports))
  local leased = redis.call("ZMSCORE", key.leased, unpack(ports))
  local cooling = redis.call("ZMSCORE", key.cooling, unpack(ports))
  local places = {}
  for i = 1, #ports do
    places[i] = free[i] == 1 and "free" or withheld[i] == 1 and "withheld" or leased[i] and "leased"
      or cooling[i] and "cooling" or false
  end
  return places
end
