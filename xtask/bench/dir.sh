# On this host: zchroot's store `dir` against schroot's types directory and directory with overlay.
# All trees, and what sessions write, lie in one directory, so on one file system.

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

# Both profiles sbuild bind this; schroot's insists on it.
build=/var/lib/sbuild/build
if [ ! -d "$build" ]; then
    [ -d /var/lib/sbuild ] || undo+=("rmdir -- /var/lib/sbuild")
    undo+=("rmdir -- '$build'")
    mkdir -p "$build"
fi

zchroot=("$ZCHROOT" --root "$WORK/root")
"${zchroot[@]}" -q init >/dev/null
undo+=("unmount_root" "'$ZCHROOT' --root '$WORK/root' -q end --all")
unmount_root() {
    umount -- "$WORK/root/run/zchroot/mount" || ! mountpoint -q -- "$WORK/root/run/zchroot/mount"
}
for profile in $PROFILES; do
    "${zchroot[@]}" -q create "bench-$profile" --from "$TREE" -m benchmark
    sed -i "s/^profile = .*/profile = \"$profile\"/" "$WORK/root/etc/zchroot/templates.d/bench-$profile.toml"
    schroot_chroot "zchroot-bench-directory-$profile" "$profile" type=directory "directory=$WORK/tree"
    schroot_chroot "zchroot-bench-overlay-$profile" "$profile" type=directory "directory=$WORK/tree" \
        union-type=overlay "union-overlay-directory=$WORK/overlay"
done

cases() {
    local profile
    for profile in $PROFILES; do
        time_zchroot "$1" "$profile"
        time_schroot "$1" "$profile" directory
        time_schroot "$1" "$profile" overlay
    done
    time_lists "$1"
}
