-- The commit: one transaction group or nothing. Arguments: t container, w draft, v its version, base ("" for none).
-- No loop and fewer than 100 instructions: only then can no signal stop it half way.
local a = ...
local t, w, v, base = a["t"], a["w"], a["v"], a["base"]
if not zfs.exists(w) then return "gone" end
local cur, src = zfs.get_prop(t, "zchroot:current")
if cur == nil or (src ~= t and src ~= "$recvd") then cur = "" end
if cur == v then return "ok" end
if cur ~= base then return "conflict " .. cur end
local r = zfs.check.snapshot(w .. "@" .. v)
if r ~= 0 then return "err check.snapshot " .. r end
r = zfs.check.set_prop(t, "zchroot:current", v)
if r ~= 0 then return "err check.set_prop " .. r end
r = zfs.sync.snapshot(w .. "@" .. v)
if r ~= 0 then return "err sync.snapshot " .. r end
r = zfs.sync.set_prop(t, "zchroot:current", v)
if r ~= 0 then return "err sync.set_prop " .. r end
return "ok"
