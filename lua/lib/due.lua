-- Whether there is anything to settle: expired leases, or ports that have cooled. In a grace there is not.
local is_due = grace_ms == 0
  and redis.call("ZCOUNT", LEASED, "-inf", now_ms) + redis.call("ZCOUNT", COOLING, "-inf", now_ms) > 0
