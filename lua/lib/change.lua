-- Changes fields of `config`; `saw` writes those that are rules to where the scripts read them.
local function change(wan, ...)
  local changes = {...}
  redis.call("HSET", key.config, ...)
  for i = 1, #changes, 2 do
    local name, value = changes[i], changes[i + 1]
    if wan[name] ~= nil then wan[name] = type(wan[name]) == "number" and tonumber(value) or value end
  end
  wan.is_changed = true
end
