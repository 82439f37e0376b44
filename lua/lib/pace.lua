-- The pace of grants: how many there were in all, and when and how many at the last two looks, 10 s apart or more.
local granted, pace = tonumber(config[14] or 0), config[15] or "0 0 0 0"
local last = string.match(pace, "%d+ %d+$")
if now_ms - string.match(last, "^%d+") >= 10000 then pace = last .. " " .. int(now_ms) .. " " .. int(granted) end
