-- The current version of a template, "" if it has none. Argument: t container.
local t = (...)["t"]
if not zfs.exists(t) then return "" end
local cur, src = zfs.get_prop(t, "zchroot:current")
if cur and (src == t or src == "$recvd") then return cur end
return ""
