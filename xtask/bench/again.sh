# A second image, most of whose files are in the store; the same on this host and in the machine. $archives/tar is the first.

# The tree some time later, packed.
later() {
    cp -a "$WORK/tree/." "$WORK/later"
    rm -r "$WORK/later/usr/share/perl5"
    echo more >>"$WORK/later/etc/passwd"
    head -c 8388608 /dev/urandom >"$WORK/later/srv/own"
    tar -C "$WORK/later" --xattrs --xattrs-include='*' --numeric-owner -cf "$archives/latertar" .
    mksquashfs "$WORK/later" "$archives/latersquashfs" -noappend -quiet -no-progress
    rm -rf --one-file-system -- "$WORK/later"
}

# again_in KIND ZCHROOT : a store in $WORK/KIND gets the first image, and programs to be timed. Beside it lies the first tree as
# files, for the floor.
declare -A again
again_in() {
    local kind=$1 z=$2 at=$WORK/$1 name digests=()
    again[$kind]=$z
    $z -q image import "$archives/tar"
    $z image import "$archives/latertar" 2>&1 | tee -a "$RESULTS/shared"
    mkdir "$at/first"
    tar -C "$at/first" --xattrs --xattrs-include='*' --numeric-owner -xpf "$archives/tar"
    sync -f "$at/first"
    for name in latertar latersquashfs; do
        digests+=("$(sha256sum "$archives/$name" | cut -c1-64)")
    done
    cat >"$WORK/clear-$kind" <<END
#!/bin/bash
set -e
there=\$($z image list --json)
for digest in ${digests[*]}; do
    if [[ \$there == *\$digest* ]]; then
        $z -q image remove \$digest
    fi
done
rm -rf --one-file-system -- '$at/out'
sync
END
    cat >"$WORK/theirs-$kind" <<END
#!/bin/bash
set -e
case \$1 in
tar) mkdir '$at/out' && tar -C '$at/out' --xattrs --xattrs-include='*' --numeric-owner -xpf $archives/latertar ;;
squashfs) unsquashfs -quiet -no-progress -dest '$at/out' $archives/latersquashfs ;;
floor) cp -a --reflink=always '$at/first' '$at/out' && find '$at/out' -type f -size +7 -exec cat {} + >/dev/null ;;
esac
[ -z "\$2" ] || sync -f '$at/out'
END
    chmod 755 "$WORK/clear-$kind" "$WORK/theirs-$kind"
}

time_again() {
    local round=$1 kind=$2 clear=$WORK/clear-$2 theirs=$WORK/theirs-$2 packed other
    for packed in tar squashfs; do
        other=tar
        [ $packed = tar ] || other=unsquashfs
        time_one "$round" "again-$kind-${packed}_zchroot_none" '' "$clear" "${again[$kind]} -q image import $archives/later$packed" ''
        time_one "$round" "again-$kind-${packed}_${other}_none" '' "$clear" "$theirs $packed" ''
        time_one "$round" "again-$kind-${packed}_${other}sync_none" '' "$clear" "$theirs $packed sync" ''
    done
    time_one "$round" "again-$kind-tar_floor_none" '' "$clear" "$theirs floor" ''
    time_one "$round" "again-$kind-tar_floorsync_none" '' "$clear" "$theirs floor sync" ''
}
