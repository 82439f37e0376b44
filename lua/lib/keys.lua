-- The keys of one WAN. They share a hash tag, so they live in one cluster slot.
local prefix = string.sub(KEYS[1], 1, -7)
local key = {prefix = prefix, config = KEYS[1], free = KEYS[2], withheld = KEYS[3], leased = KEYS[4], cooling = KEYS[5],
  grants = KEYS[6], waiting = KEYS[7], waiters = KEYS[8], networks = KEYS[9], leaving = KEYS[10],
  lease = prefix .. "lease:", held = prefix .. "held:", resting = prefix .. "resting:"}
