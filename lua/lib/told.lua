-- Adds the leases that `finish` ended in this call to the events, if it noted any.
local function tell_ended(wan, what, ...)
  local told = wan.told
  if not told then return end
  tell(what, #told.ports, told.ports, "label", told.about[1] or "", "host", told.about[2] or "", "network", told.network,
    "holder", told.who, ...)
  wan.told = nil
end
