-- Finds ports where others want them too, or where the caller asks for more than one, or for a certain one. Returns them, with
-- until when those cool that come from their cooling; or nil, nil, and the reply of a request that is answered.
local MOST_SETTLED, MOST_AVOIDED = 128, 1000
local function contend(wan, asked)
  local answer = answer_again(wan, asked.holder, asked.ids)
  if answer then return nil, nil, answer end
  if wan.state ~= "open" then return nil, nil, refused(wan, asked, {"DRAINING"}) end
  if asked.ttl_ms > wan.max_ttl_ms then return nil, nil, {"TTL", wan.max_ttl_ms} end
  if asked.known_generation ~= wan.generation and asked.known_generation ~= "" and wan.on_failover == "grace"
    and redis.call("HGET", key.config, "succeeds") ~= "1" then
    -- the data is not what the caller knew: holders of leases of the earlier data may re-assert them, once for all
    begin_grace(wan)
    change(wan, "succeeds", 1)
  end
  answer = in_grace(wan)
  if answer then return nil, nil, refused(wan, asked, answer) end

  redis.call("HSET", key.grants, "seen_ms", int(wan.now_ms)) -- a full Redis refuses this, and with it the call
  local more, count, mine, plain_ahead, all, avoid = false, #asked.ids, 0, 0, 0, {}
  if is_due(wan) then
    local _, left = settle(wan, math.min(asked.settle, MOST_SETTLED) + count)
    more = left
    saw(wan)
  end
  for port in string.gmatch(asked.avoid, "%d+") do
    if #avoid < MOST_AVOIDED then avoid[#avoid + 1], avoid[port] = port, true end
  end
  if wan.waiting > 0 then all, mine, plain_ahead = count_ahead(wan, asked.ticket, asked.network, asked.is_plain) end
  if wan.max_per_network > 0 then
    count = math.min(count, wan.max_per_network - (redis.call("HGET", key.networks, asked.network) or 0) - mine)
  end
  local fresh, ports, cools_until, till_ms = 0, nil, nil, nil
  if count >= asked.least then
    if asked.wanted ~= "" then
      ports, cools_until, answer = choose_wanted(wan, asked, more)
      if answer then return nil, nil, refused(wan, asked, answer) end
    else
      ports, cools_until, fresh = choose(wan, asked, count, all, mine, plain_ahead, avoid)
      till_ms = fresh > 0 and wan.rejects_until > wan.now_ms and rejecting_until(wan, asked.network) or nil
      if till_ms then fresh = 0 end
    end
  end
  ports = ports or {}
  if #ports + fresh < asked.least then
    if more then
      saw(wan)
      return nil, nil, {"MORE"}
    end
    return nil, nil, refuse(wan, asked, count, all, mine, till_ms)
  end
  if wan.waiting > 0 then leave(wan, asked.ticket) end
  if #ports > 0 and asked.wanted == "" then
    redis.call("ZREM", key.cooling, unpack(ports))
    redis.call("ZREM", key.resting .. asked.network, unpack(ports))
  end
  if fresh > 0 then pop_free(fresh, avoid, ports) end
  return ports, cools_until
end
