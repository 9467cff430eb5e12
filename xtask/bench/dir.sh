# On this host: zchroot's store `dir` against schroot's types directory and directory with overlay.

# Both profiles sbuild bind this; schroot's insists on it.
build=/var/lib/sbuild/build
if [ ! -d "$build" ]; then
    [ -d /var/lib/sbuild ] || undo+=("rmdir -- /var/lib/sbuild")
    undo+=("rmdir -- '$build'")
    mkdir -p "$build"
fi

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
