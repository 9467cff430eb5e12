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
# The same tree some time later, and stores on file systems that share blocks, which have the first image already.
cp -a "$WORK/tree" "$WORK/later"
rm -r "$WORK/later/usr/share/perl5"
echo more >>"$WORK/later/etc/passwd"
head -c 8388608 /dev/urandom >"$WORK/later/srv/own"
tar -C "$WORK/later" --xattrs --xattrs-include='*' --numeric-owner -cf "$archives/latertar" .
mksquashfs "$WORK/later" "$archives/latersquashfs" -noappend -quiet -no-progress
rm -rf --one-file-system -- "$WORK/later"
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
    "$ZCHROOT" --root "$WORK/$kind/root" -q image import "$archives/tar"
    "$ZCHROOT" --root "$WORK/$kind/root" image import "$archives/latertar" 2>&1 | tee -a "$RESULTS/shared"
done
first=$(sha256sum "$archives/tar" | cut -c1-64)

# Programs, for hyperfine starts no shell.
cat >"$WORK/clear" <<END
#!/bin/bash
set -- '$WORK/root/var/lib/zchroot/store/images'/*
[ ! -e "\$1" ] || ${zchroot[*]} -q image remove "\${@##*/}"
rm -rf --one-file-system -- '$WORK/out'
sync
END
cat >"$WORK/clear-again" <<END
#!/bin/bash
for image in '$WORK'/\$1/root/var/lib/zchroot/store/images/*; do
    [ "\${image##*/}" = $first ] || '$ZCHROOT' --root '$WORK'/\$1/root -q image remove "\${image##*/}"
done
rm -rf --one-file-system -- '$WORK'/\$1/out
sync
END
cat >"$WORK/theirs-again" <<END
#!/bin/bash
set -e
case \$2 in
tar) mkdir '$WORK'/\$1/out && tar -C '$WORK'/\$1/out --xattrs --xattrs-include='*' --numeric-owner -xpf $archives/latertar ;;
squashfs) unsquashfs -quiet -no-progress -dest '$WORK'/\$1/out $archives/latersquashfs ;;
esac
[ -z "\$3" ] || sync -f '$WORK'/\$1/out
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
chmod 755 "$WORK/clear" "$WORK/theirs" "$WORK/clear-again" "$WORK/theirs-again"

time_import() {
    local source=$archives/$2
    [ "$2" != oci ] || source=oci:$source:it
    time_one "$1" "import-$2_zchroot_none" '' "$WORK/clear" "${zchroot[*]} -q image import $source" ''
    time_one "$1" "import-$2_$3_none" '' "$WORK/clear" "$WORK/theirs $2" ''
    time_one "$1" "import-$2_$3sync_none" '' "$WORK/clear" "$WORK/theirs $2 sync" ''
}

# A second image, most of whose files are in the store.
time_again() {
    local clear="$WORK/clear-again $2" theirs="$WORK/theirs-again $2 $3"
    local ours="$ZCHROOT --root $WORK/$2/root -q image import $archives/later$3"
    time_one "$1" "again-$2-$3_zchroot_none" '' "$clear" "$ours" ''
    time_one "$1" "again-$2-$3_$4_none" '' "$clear" "$theirs" ''
    time_one "$1" "again-$2-$3_$4sync_none" '' "$clear" "$theirs sync" ''
}

cases() {
    cat /proc/loadavg >>"$RESULTS/load"
    time_import "$1" tar tar
    time_import "$1" targz tar
    time_import "$1" tarzst tar
    time_import "$1" squashfs unsquashfs
    time_import "$1" oci umoci
    for kind in "${sharing[@]}"; do
        time_again "$1" "$kind" tar tar
        time_again "$1" "$kind" squashfs unsquashfs
    done
    cat /proc/loadavg >>"$RESULTS/load"
}
