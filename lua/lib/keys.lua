-- The keys of one WAN. They share a hash tag, so they live in one cluster slot.
local CONFIG, FREE, WITHHELD, LEASED, COOLING, GRANTS, WAITING, WAITERS, NETWORKS, LEAVING = unpack(KEYS)
local PREFIX = string.sub(CONFIG, 1, -7)
local LEASE, HELD, RESTING = PREFIX .. "lease:", PREFIX .. "held:", PREFIX .. "resting:"
