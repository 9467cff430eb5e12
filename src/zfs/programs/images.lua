-- The images below d: lines NAME TAB CREATED TAB COMPLETE TAB CLONES after a line "container"; no line if there is no d.
-- An image is complete when it has its snapshot.
local d = (...)["d"]
if not zfs.exists(d) then return "" end
local out, cut = { "container" }, #d + 2
for child in zfs.list.children(d) do
  local created = zfs.get_prop(child, "creation")
  local pristine, complete, clones = child .. "@pristine", "off", 0
  if zfs.exists(pristine) then
    complete = "on"
    for _ in zfs.list.clones(pristine) do clones = clones + 1 end
  end
  out[#out + 1] = table.concat({ string.sub(child, cut), created, complete, clones }, "\t")
end
return table.concat(out, "\n")
