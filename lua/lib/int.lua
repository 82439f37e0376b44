-- Numbers as text, the same on every server version.
local function int(n) return string.format("%.0f", n) end
