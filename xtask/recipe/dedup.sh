# Two Debian images that share most of their files, on a pool that clones blocks: the second takes and writes less than
# a fifth of what the first did. The pool and the disk below it are asked, not the program.
# ZCHROOT is the program, ONE and TWO are the archives; the pool is made here, in a machine of its own, and goes with it.
set -u -o pipefail
export LC_ALL=C.UTF-8
work=/scratch/recipe
mkdir -p "$work" && cd "$work" || exit 1

die() {
    printf '\nrecipe: FAILED: %s\n' "$*" >&2
    exit 1
}
title() { printf '\n=== %s\n' "$*"; }
settle() { for _ in 1 2 3; do zpool sync tank; done; sync; }
# Bytes in use in the pool; bytes that clones do not take; bytes that the disk below the pool was given.
allocated() { zpool get -Hpo value allocated tank; }
cloned() { zpool get -Hpo value bclonesaved tank; }
given() { awk -v disk="$disk" '$3 == disk { print $10 * 512 }' /proc/diskstats; }
mib() { awk -v bytes="$1" 'BEGIN { printf "%.1f MiB", bytes / 1048576 }'; }

# Imports an archive: `digest`, and what that took, wrote and shared as the pool and the disk have it.
import() {
    local took=$(allocated) wrote=$(given) shared=$(cloned)
    printf '\n$ zchroot image import %s\n' "${1##*/}"
    "$ZCHROOT" -q image import --json "$1" >output || die "the import failed"
    settle
    digest=$(grep -o '"digest": "[0-9a-f]*"' output | cut -d'"' -f4)
    said=$(grep -o '"saved": [0-9]*' output | grep -o '[0-9]*$')
    took=$(($(allocated) - took)) wrote=$(($(given) - wrote)) shared=$(($(cloned) - shared))
    printf 'the pool holds %s more, its disk was given %s, clones save %s; zchroot says %s\n' \
        "$(mib $took)" "$(mib $wrote)" "$(mib $shared)" "$(mib "$said")"
    eval "took$2=$took wrote$2=$wrote shared$2=$shared said$2=$said"
}
# The tree of an image is what the archive says, entry by entry, and there is nothing else in it.
compare() {
    mkdir -p tree && mount -t zfs "tank/zchroot/images/$1@pristine" tree || die "the image cannot be mounted"
    tar -C tree --numeric-owner --xattrs --xattrs-include='*' --compare -f "$2" >differs 2>&1
    local status=$? entries found
    found=$(find tree -printf '%P\n' | wc -l)
    umount tree
    [[ $status = 0 && ! -s differs ]] || die "the tree is not what was packed: $(head -n 5 differs)"
    entries=$(tar -tf "$2" | sed 's,^\./,,; s,/$,,' | sort -u | wc -l)
    [[ $entries = "$found" ]] || die "$found entries in the tree and $entries in the archive"
    printf 'tar --compare: %s entries, all as in the archive\n' "$entries"
}

title "A pool with block cloning, and a store in it"
disk=$(basename "$(findmnt -no SOURCE /scratch)")
truncate -s 4G tank.img
zpool create -O mountpoint=none tank "$work/tank.img" || die "no pool"
[[ $(cat /sys/module/zfs/parameters/zfs_bclone_enabled) = 1 ]] || die "this module clones no blocks"
mkdir -p /etc/zchroot
printf 'version = 1\nstore = "zfs"\ndigests = "never"\n[zfs]\npool = "tank"\nreserve = "0"\n' >/etc/zchroot/zchroot.toml
cat /etc/zchroot/zchroot.toml
"$ZCHROOT" init || die "no store"
settle

title "Debian, and Debian with some packages more, by two runs of mmdebstrap"
import "$ONE" 1
compare "$digest" "$ONE"
settle
import "$TWO" 2
compare "$digest" "$TWO"

title "The second against the first"
((took1 > 50 << 20)) || die "the first is no Debian"
((shared1 == 0 && said1 == 0)) || die "the first shares something"
((took2 * 5 < took1)) || die "the second takes a fifth or more"
((wrote2 * 5 < wrote1)) || die "the second writes a fifth or more"
((shared2 > 0 && said2 > 0)) || die "the pool has cloned nothing"
printf 'of the first: %s in the pool, %s written to its disk\n' \
    "$(awk -v a=$took2 -v b=$took1 'BEGIN { printf "%.1f %%", 100 * a / b }')" \
    "$(awk -v a=$wrote2 -v b=$wrote1 'BEGIN { printf "%.1f %%", 100 * a / b }')"

title "The second stays whole when the first goes"
"$ZCHROOT" -q image remove "$(sha256sum "$ONE" | cut -c1-64)" || die "the first does not go"
settle
compare "$digest" "$TWO"

printf '\nrecipe: the second import wrote less than a fifth\n'
umount /var/lib/zchroot
zpool destroy tank
