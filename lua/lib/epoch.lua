-- Kept ports are looked at again when this number changes.
local function next_epoch(wan) change(wan, "epoch", int(wan.epoch + 1)) end
