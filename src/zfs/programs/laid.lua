-- Whether d is laid out: lines "children N" and, for property p of d (if p is not ""), "own VALUE" when it is d's own.
-- "" if there is no d.
local a = ...
local d, p = a["d"], a["p"]
if not zfs.exists(d) then return "" end
local count = 0
for _ in zfs.list.children(d) do count = count + 1 end
for _ in zfs.list.snapshots(d) do count = count + 1 end
local out = "children\t" .. count
if p ~= "" then
  local value, src = zfs.get_prop(d, p)
  if src == d or src == "$recvd" then out = out .. "\nown\t" .. tostring(value) end
end
return out
