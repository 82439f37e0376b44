-- Forgets a holder that ended in good order.
-- ARGV 1 holder
-- Reply {"UNREGISTERED"}
-- @include "namespace"
redis.call("HDEL", key.holders, ARGV[1])
return {"UNREGISTERED"}
