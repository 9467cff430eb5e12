# On this host: all trees, and what is written, lie in one directory, so on one file system.

# The names in schroot's configuration are the same for every checkout.
exec 9>/run/lock/zchroot-bench
if ! flock -n 9; then
    echo "another benchmark runs on this machine" >&2
    exit 1
fi

undo+=("rm -rf --one-file-system -- '$WORK'")
if grep -qF " $WORK/" /proc/self/mountinfo; then
    echo "something is still mounted in $WORK: a run was killed" >&2
    undo=()
    exit 1
fi
rm -rf --one-file-system -- "$WORK"
mkdir -p "$WORK/tree" "$WORK/overlay" "$WORK/root"
chmod 755 "$WORK/root"
tar -C "$WORK/tree" --xattrs --xattrs-include='*' --numeric-owner -xpf "$TREE"

zchroot=("$ZCHROOT" --root "$WORK/root")
"${zchroot[@]}" -q init >/dev/null
undo+=("unmount_root" "'$ZCHROOT' --root '$WORK/root' -q end --all")
unmount_root() {
    umount -- "$WORK/root/run/zchroot/mount" || ! mountpoint -q -- "$WORK/root/run/zchroot/mount"
}
