# In the machine: a second similar image on a pool, against what unpacks the same archive to a dataset of the same pool.
WARMUP=0
archives=$WORK/archives
mkdir -p "$archives" "$WORK/tree" "$WORK/zfs"
cp "$TREE" "$archives/tar"
tar -C "$WORK/tree" --xattrs --xattrs-include='*' --numeric-owner -xpf "$TREE"
later
rm -rf --one-file-system -- "$WORK/tree"
truncate -s 6G "$WORK/bench.img"
zpool create -O mountpoint=none -O atime=off bench "$WORK/bench.img"
zfs create -o "mountpoint=$WORK/zfs" bench/files
"$ZCHROOT" -q init --pool bench >/dev/null
find "$archives" -type f -exec cat {} + >/dev/null
again_in zfs "$ZCHROOT"

cases() {
    time_again "$1" zfs
}
