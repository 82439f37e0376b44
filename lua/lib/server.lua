-- Looks whether this server's data may be older than the grants: then its replication id is not the one that wrote them,
-- after a failover, a restart, a restored file, or when the WAN was defined by a caller who cannot know whether it was there
-- before. Then a grace begins: nothing new is granted, and nothing is due, for the renewals may be lost too. Returns the
-- reply of a script that must be asked again, or nil. A server with replicas that heard nothing of this WAN for longer
-- than the failover margin must be asked again: it may have been stopped, and find out only after this request that another took
-- its place.
local function begin_grace(wan, up_ms)
  wan.grace_ms = math.max(wan.grace_ms, wan.max_ttl_ms + wan.failover_margin_ms - (up_ms or 0))
  wan.has_begun = true
end
local function look_at_server(wan)
  if wan.on_failover ~= "grace" then return nil end
  local about, idle_ms = redis.call("INFO", "replication"), wan.now_ms - wan.seen_ms
  if idle_ms > wan.failover_margin_ms and not wan.is_asked_again and string.find(about, "connected_slaves:[1-9]") then
    return {"STEPPED"}
  end
  if wan.source ~= "" and string.find(about, "master_replid:" .. wan.source, 1, true) then return nil end
  if string.find(about, "role:slave", 1, true) then return nil end
  -- The same process takes another id, as the primary that it was all the time, when its first replica comes, and when
  -- the last one has been gone for repl-backlog-ttl. One that was a replica meanwhile has a second id for as long.
  local SOON_MS, HOUR_MS = 60000, 3600000
  local server, is_first = redis.call("INFO", "server"), string.find(about, "master_replid2:0+%c")
  wan.source, wan.run_id, wan.has_moved = string.match(about, "master_replid:(%x+)"), string.match(server, "run_id:(%x+)"), true
  if wan.run_id == redis.call("HGET", key.config, "run_id") and is_first and idle_ms <= SOON_MS then return nil end
  -- All that this data may have forgotten was granted before the process came up, if that has its data from its own disk,
  -- and was no replica meanwhile: it would show that for an hour at least, the default of repl-backlog-ttl.
  local whole_ms, up_ms = wan.max_ttl_ms + wan.failover_margin_ms, 0
  local is_never = string.find(about, "master_repl_offset:0%c")
  if is_first and (is_never or whole_ms < HOUR_MS) and not string.find(server, "_mode:cluster") then
    local telltale = " flushall flushdb swapdb restore restore-asking debug replicaof slaveof config|resetstat config "
    up_ms = 1000 * math.max(0, (string.match(server, "uptime_in_seconds:(%d+)") or 0) - 1)
    for name in string.gmatch(redis.call("INFO", "commandstats"), "cmdstat_([^:]+):calls=[1-9]") do
      if string.find(telltale, " " .. name .. " ", 1, true) then up_ms = 0 end
    end
  end
  begin_grace(wan, up_ms)
  return nil
end
