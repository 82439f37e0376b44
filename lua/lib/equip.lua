-- Gives `finish`, which is for all WANs, what only those need in which others wait, or from which ports leave.
local function equip(wan) wan.depart, wan.wake = depart, wake end
