-- The datasets right under d: lines NAME TAB CREATED after a line "container"; no line if there is no d.
local d = (...)["d"]
if not zfs.exists(d) then return "" end
local out, cut = { "container" }, #d + 2
for child in zfs.list.children(d) do
  local created = zfs.get_prop(child, "creation")
  out[#out + 1] = string.sub(child, cut) .. "\t" .. created
end
return table.concat(out, "\n")
