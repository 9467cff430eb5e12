-- What d, a dataset or snapshot, takes and may take: USED TAB REFERENCED TAB AVAILABLE; "" if it is not there.
local d = (...)["d"]
if not zfs.exists(d) then return "" end
local used = zfs.get_prop(d, "used")
local referenced = zfs.get_prop(d, "referenced")
local available = zfs.get_prop(d, "available")
return used .. "\t" .. referenced .. "\t" .. (available or 0)
