-- The clones of the snapshot s right under d: lines NAME TAB CREATED after a line "container".
local a = ...
local s, d = a["s"], a["d"]
local out, cut = { "container" }, #d + 2
if not zfs.exists(s) then return out[1] end
for clone in zfs.list.clones(s) do
  if string.sub(clone, 1, cut - 1) == d .. "/" then
    local created = zfs.get_prop(clone, "creation")
    out[#out + 1] = string.sub(clone, cut) .. "\t" .. created
  end
end
return table.concat(out, "\n")
