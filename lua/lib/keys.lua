-- The keys of one WAN. They share a hash tag, so they live in one cluster slot.
local prefix = string.sub(KEYS[1], 1, -7)
local key = {
  config = KEYS[1], free = KEYS[2], withheld = KEYS[3], leased = KEYS[4], cooling = KEYS[5],
  grants = KEYS[6], ids = KEYS[7], waiting = KEYS[8], waiters = KEYS[9], networks = KEYS[10],
}
function key.lease(port) return prefix .. "lease:" .. port end
function key.held(holder) return prefix .. "held:" .. holder end
function key.resting(network) return prefix .. "resting:" .. network end
function key.wake(holder) return prefix .. "wake:" .. holder end
