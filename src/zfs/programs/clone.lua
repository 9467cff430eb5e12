-- What the file system d is cloned from, on a line, then its snapshots, a line each; "" if there is no d.
local d = (...)["d"]
if not zfs.exists(d) then return "" end
local out = { zfs.get_prop(d, "origin") or "" }
if out[1] == "" then out[1] = "-" end
for snapshot in zfs.list.snapshots(d) do out[#out + 1] = snapshot end
return table.concat(out, "\n")
