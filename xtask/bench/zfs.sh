# In the machine: zchroot's store `zfs` against schroot's type zfs-snapshot and against the bare system calls.
truncate -s 6G /scratch/bench.img
zpool create -O mountpoint=none -O atime=off bench /scratch/bench.img
zfs create -o mountpoint=/scratch/tree bench/tree
tar -C /scratch/tree --xattrs --xattrs-include='*' --numeric-owner -xpf "$TREE"
zfs set mountpoint=legacy bench/tree
zfs snapshot bench/tree@raw
mkdir -p /scratch/raw

zchroot=("$ZCHROOT")
"${zchroot[@]}" -q init --pool bench >/dev/null
for profile in $PROFILES; do
    "${zchroot[@]}" -q create "bench-$profile" --from "$TREE" -m benchmark
    sed -i "s/^profile = .*/profile = \"$profile\"/" "/etc/zchroot/templates.d/bench-$profile.toml"
    schroot_chroot "zchroot-bench-snapshot-$profile" "$profile" type=zfs-snapshot zfs-dataset=bench/tree
done
zpool sync bench

time_raw() {
    local raw="$RAW bench/tree@raw bench/raw /scratch/raw"
    time_one "$1" run_raw_none '' '' "$raw run" ''
    time_one "$1" begin_raw_none "$raw begin" "$raw end" "$raw begin" "$raw end"
    time_one "$1" end_raw_none '' "$raw begin" "$raw end" ''
    time_one "$1" exec_raw_none "$raw begin" '' "$raw exec" "$raw end"
}

cases() {
    local profile
    for profile in $PROFILES; do
        time_zchroot "$1" "$profile"
        time_schroot "$1" "$profile" snapshot
    done
    time_raw "$1"
    time_lists "$1"
}
