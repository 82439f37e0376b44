-- Forgets a holder that ended.
-- ARGV 1 holder  2 boot id  3 PID namespace
-- Reply {"UNREGISTERED"}
-- @include "namespace" "neighbours" "forget"
forget(ARGV[1], ARGV[2], ARGV[3])
return {"UNREGISTERED"}
