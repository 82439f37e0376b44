-- Whether there is anything to settle: expired leases, or ports that have cooled.
local is_due = redis.call("ZCOUNT", LEASED, "-inf", now_ms) + redis.call("ZCOUNT", COOLING, "-inf", now_ms) > 0
