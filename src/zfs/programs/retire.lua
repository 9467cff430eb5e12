-- A former head and the one snapshot that it still has, its own: both go in one transaction group, so that no crash
-- leaves a head without its snapshot, which is what a draft looks like. Arguments: h head, v its version.
local a = ...
local h, v = a["h"], a["v"]
if not zfs.exists(h) then return "ok" end
local s = h .. "@" .. v
local r = zfs.check.destroy(s)
if r ~= 0 then return "err check.destroy " .. r end
r = zfs.sync.destroy(s)
if r ~= 0 then return "err sync.destroy " .. r end
r = zfs.sync.destroy(h)
if r ~= 0 then return "err sync.destroy " .. r end
return "ok"
