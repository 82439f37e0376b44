-- The keys of a namespace.
local key = {wans = KEYS[1], holders = KEYS[2], health = KEYS[3]}
