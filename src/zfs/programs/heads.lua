-- All there is of one template. Argument: t container. Lines of fields between tabs; no line if there is no container:
--   container / current VERSION / head NAME CREATED ORIGIN / snapshot NAME@SNAPSHOT CREATED LEAVING
-- A property that a container merely inherits is not its own: only a local or received one counts.
local t = (...)["t"]
if not zfs.exists(t) then return "" end
local out = { "container" }
local function line(...) out[#out + 1] = table.concat({ ... }, "\t") end
local cur, src = zfs.get_prop(t, "zchroot:current")
if cur and (src == t or src == "$recvd") then line("current", cur) end
local cut = #t + 2
for head in zfs.list.children(t) do
  local created = zfs.get_prop(head, "creation")
  local origin = zfs.get_prop(head, "origin")
  line("head", string.sub(head, cut), created, origin or "-")
  for snap in zfs.list.snapshots(head) do
    local taken = zfs.get_prop(snap, "creation")
    local leaving = zfs.get_prop(snap, "defer_destroy")
    line("snapshot", string.sub(snap, cut), taken, leaving)
  end
end
return table.concat(out, "\n")
