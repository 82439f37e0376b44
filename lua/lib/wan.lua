-- Opens the WAN: its rules, and its time. Ends the script when there is no such WAN, and with {"STEPPED"} when the caller
-- must ask again. The time of a WAN is the server's clock without its steps: a step back shows against the time last seen,
-- a step ahead against the caller's boot clock (ARGV 1 names that clock or is "", ARGV 2 is its time in ms). A request
-- that was long on its way looks like a step: so only one that was asked again, with "!" behind the name, counts.
-- A caller must also ask again if the server has replicas and nothing happened on it for longer than the failover margin.
-- What a clock shows is noted by the quickest request, which then counts less at the pace at which clocks may drift apart.
-- The data may be older than the grants when the server's replication id is not the one that wrote them: after a failover, a
-- restart, a restored file, or when the WAN was defined by a caller who cannot know whether it was there before. Then a grace
-- begins: for `grace_ms` from now nothing new is granted, and nothing is due, for the renewals may be lost too.
local PROTOCOL, STEP_MS, NAME, DRIFT, SOON_MS, HOUR_MS, MOST_GRACES = "3", 1000, 12, 0.001, 60000, 3600000, 60
local TELLTALE = " flushall flushdb swapdb restore restore-asking debug replicaof slaveof config|resetstat config " -- 6.2: last
local clock_name = string.sub(ARGV[1], 1, NAME)
local clock = "clock:" .. string.sub(ARGV[1], 1, 2)
local config = redis.call("HMGET", CONFIG, "protocol", "state", "seen_ms", "ahead_ms", clock, "fence", "waiting",
  "leaving", "cooldown_ms", "lease_ttl_ms", "max_ttl_ms", "max_per_network", "rejects_until", "granted", "pace",
  "on_failover", "source", "grace_until_ms", "failover_margin_ms", "generation",
  "run_id")
local state, seen_ms, ahead_ms = config[2], tonumber(config[3]), tonumber(config[4])
local waiting, leaving, cooldown_ms = tonumber(config[7]), tonumber(config[8]), tonumber(config[9])
local max_ttl_ms, max_per_network = tonumber(config[11]), tonumber(config[12])
if config[1] ~= PROTOCOL then
  if config[1] then return {"OTHER_PROTOCOL", config[1]} end
  return {"NOT_DEFINED"}
end
if state == "filling" or state == "removing" then return {"NOT_DEFINED"} end
local time = redis.call("TIME")
local server_ms = time[1] * 1000 + math.floor(time[2] / 1000)
local now_ms, at_ms, is_noted = server_ms - ahead_ms, math.huge, ARGV[1] == ""
if now_ms < seen_ms then
  if now_ms < seen_ms - STEP_MS then ahead_ms = server_ms - seen_ms end
  now_ms = seen_ms
elseif config[5] then
  local name, boot_ms, noted_ms = string.match(config[5], "^(%S+) (%d+) (%d+)$")
  if name == clock_name then
    local elapsed_ms = tonumber(ARGV[2]) - boot_ms
    -- no caller saw a step before the time last seen, so the step is no longer than since then
    local stepped_ms = math.min(now_ms - noted_ms - elapsed_ms, now_ms - seen_ms)
    if stepped_ms > STEP_MS and elapsed_ms >= 0 then
      if #ARGV[1] == NAME then return {"STEPPED"} end
      ahead_ms = ahead_ms + stepped_ms
      now_ms = now_ms - stepped_ms
    end
    at_ms = noted_ms + elapsed_ms + math.floor(elapsed_ms * DRIFT)
    is_noted = is_noted or elapsed_ms < STEP_MS and now_ms >= at_ms
  end
end
local source, run_id, has_begun, grace_ms = config[17], config[21], false, math.max(0, config[18] - now_ms)
local function begin_grace(up_ms)
  grace_ms, has_begun = math.max(grace_ms, max_ttl_ms + config[19] - (up_ms or 0)), true
end
if config[16] == "grace" then
  local about = redis.call("INFO", "replication")
  source = string.match(about, "master_replid:(%x+)")
  if #ARGV[1] == NAME and now_ms - seen_ms > tonumber(config[19]) and string.find(about, "connected_slaves:[1-9]") then
    return {"STEPPED"} -- it may have been stopped, and find out only after this request that another one took its place
  end
  if source ~= config[17] and not string.find(about, "role:slave", 1, true) then
    -- The same process takes another id, as the primary that it was all the time, when its first replica comes, and when
    -- the last one has been gone for repl-backlog-ttl. One that was a replica meanwhile has a second id for as long.
    local server, is_first = redis.call("INFO", "server"), string.find(about, "master_replid2:0+%c")
    run_id = string.match(server, "run_id:(%x+)")
    if run_id ~= config[21] or not is_first or now_ms - seen_ms > SOON_MS then
      -- All that this data may have forgotten was granted before the process came up, if that has its data from its own disk,
      -- and was no replica meanwhile: it would show that for an hour at least, the default of repl-backlog-ttl.
      local up_ms, is_never = 0, string.find(about, "master_repl_offset:0%c")
      if is_first and (is_never or max_ttl_ms + config[19] < HOUR_MS) and not string.find(server, "_mode:cluster") then
        up_ms = 1000 * math.max(0, (string.match(server, "uptime_in_seconds:(%d+)") or 0) - 1)
        for name in string.gmatch(redis.call("INFO", "commandstats"), "cmdstat_([^:]+):calls=[1-9]") do
          if string.find(TELLTALE, " " .. name .. " ", 1, true) then up_ms = 0 end
        end
      end
      begin_grace(up_ms)
    end
  end
end
local function saw(...)
  if source ~= config[17] then redis.call("HSET", CONFIG, "source", source, "run_id", run_id) end
  if has_begun then -- and fences go on beyond those that the data has forgotten, also by a clock that is late
    local graces = {grace_ms > 0 and int(now_ms) or nil} -- when those of the last hour began, for people
    for at_ms in string.gmatch(redis.call("HGET", CONFIG, "graces") or "", "%d+") do
      if now_ms - at_ms < HOUR_MS and #graces < MOST_GRACES then graces[#graces + 1] = at_ms end
    end
    redis.call("HSET", CONFIG, "grace_until_ms", int(now_ms + grace_ms), "graces", table.concat(graces, " "),
      "fence", int(config[6] + 1000 * (max_ttl_ms + config[19])))
  end
  if ahead_ms ~= tonumber(config[4]) then redis.call("HSET", CONFIG, "ahead_ms", ahead_ms) end
  if is_noted then return redis.call("HSET", CONFIG, "seen_ms", now_ms, ...) end
  local text = clock_name .. " " .. ARGV[2] .. " " .. int(math.min(now_ms, at_ms))
  return redis.call("HSET", CONFIG, "seen_ms", now_ms, clock, text, ...)
end
