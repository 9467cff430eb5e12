# On this host: `zchroot image import` against what unpacks the same archive, alone and with the wait for the disk.
# No run but the one that is timed: the archive is in memory, and a run takes seconds.
WARMUP=0
# tar with gzip and unsquashfs are several processes or threads: on a busy machine they would get more of it than zchroot.
renice -n -15 $$ >/dev/null
if [ -w /proc/$$/autogroup ]; then
    undo+=("echo $(sed 's/.* //' /proc/$$/autogroup) >/proc/$$/autogroup")
    echo -15 >/proc/$$/autogroup
fi
archives=$WORK/archives
mkdir "$archives"
cp "$TREE" "$archives/tar"
gzip -c "$TREE" >"$archives/targz"
zstd -q -c "$TREE" >"$archives/tarzst"
mksquashfs "$WORK/tree" "$archives/squashfs" -noappend -quiet -no-progress
# An image of two layers, the tree and a change.
umoci init --layout "$archives/oci" && umoci new --image "$archives/oci:it"
umoci unpack --image "$archives/oci:it" "$WORK/bundle"
cp -a "$WORK/tree/." "$WORK/bundle/rootfs"
umoci repack --refresh-bundle --image "$archives/oci:it" "$WORK/bundle"
rm -r "$WORK/bundle/rootfs/usr/share/perl5"
umoci repack --image "$archives/oci:it" "$WORK/bundle"
rm -rf --one-file-system -- "$WORK/bundle"
later
find "$archives" -type f -exec cat {} + >/dev/null
sharing=(xfs btrfs)
for kind in "${sharing[@]}"; do
    mkdir "$WORK/$kind"
    truncate -s 4G "$WORK/$kind.disk"
    "mkfs.$kind" -q "$WORK/$kind.disk"
    mount -o loop "$WORK/$kind.disk" "$WORK/$kind"
    undo+=("umount -R -- '$WORK/$kind'")
    mkdir -m 755 "$WORK/$kind/root"
    "$ZCHROOT" --root "$WORK/$kind/root" -q init >/dev/null
    again_in "$kind" "$ZCHROOT --root $WORK/$kind/root"
done
# Programs, for hyperfine starts no shell.
cat >"$WORK/clear" <<END
#!/bin/bash
set -- '$WORK/root/var/lib/zchroot/store/images'/*
[ ! -e "\$1" ] || ${zchroot[*]} -q image remove "\${@##*/}"
rm -rf --one-file-system -- '$WORK/out'
sync
END
cat >"$WORK/theirs" <<END
#!/bin/bash
set -e
case \$1 in
tar*) mkdir '$WORK/out' && tar -C '$WORK/out' --xattrs --xattrs-include='*' --numeric-owner -xpf "$archives/\$1" ;;
squashfs) unsquashfs -quiet -no-progress -dest '$WORK/out' "$archives/\$1" ;;
oci) umoci unpack --image "$archives/oci:it" '$WORK/out' ;;
esac
[ -z "\$2" ] || sync -f '$WORK/out'
END
chmod 755 "$WORK/clear" "$WORK/theirs"

time_import() {
    local source=$archives/$2
    [ "$2" != oci ] || source=oci:$source:it
    time_one "$1" "import-$2_zchroot_none" '' "$WORK/clear" "${zchroot[*]} -q image import $source" ''
    time_one "$1" "import-$2_$3_none" '' "$WORK/clear" "$WORK/theirs $2" ''
    time_one "$1" "import-$2_$3sync_none" '' "$WORK/clear" "$WORK/theirs $2 sync" ''
}

cases() {
    cat /proc/loadavg >>"$RESULTS/load"
    time_import "$1" tar tar
    time_import "$1" targz tar
    time_import "$1" tarzst tar
    time_import "$1" squashfs unsquashfs
    time_import "$1" oci umoci
    for kind in "${sharing[@]}"; do
        time_again "$1" "$kind"
    done
    cat /proc/loadavg >>"$RESULTS/load"
}
