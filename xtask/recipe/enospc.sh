# What happens when a pool is full, step by step: docs/zfs.md tells the same for administrators.
# ZCHROOT is the program; the pool is made here, in a machine of its own, and goes with it.
set -u -o pipefail
export LC_ALL=C.UTF-8
work=/scratch/recipe
mkdir -p "$work" && cd "$work" || exit 1

die() {
    printf '\nrecipe: FAILED: %s\n' "$*" >&2
    exit 1
}
title() { printf '\n=== %s\n' "$*"; }
# Prints a command and runs it; its output is kept, its status has to be the first word.
show() {
    local wanted=$1 status
    shift
    printf '\n$ %s\n' "${*//$ZCHROOT/zchroot}"
    "$@" >output 2>&1 </dev/null
    status=$?
    cat output
    [[ $status = "$wanted" ]] || die "it exited with $status and not with $wanted"
}
said() { grep -qF -- "$1" output || die "it does not say: $1"; }
available() { zfs get -Hpo value available tank/zchroot/images; }
leave() {
    local held now
    for _ in 1 2 3; do
        zpool sync tank
        held=$(zfs get -Hpo value refreservation tank/ballast)
        [[ $held = [0-9]* ]] || held=0
        now=$((held + $(available) - $1 * 1048576))
        ((now > 0)) || now=0
        zfs set refreservation=$now tank/ballast || die "the ballast would not be laid"
    done
    printf '\nballast: %s MiB can still be written to the pool\n' $(($(available) / 1048576))
}
archive() {
    rm -rf tree && mkdir -p tree/usr tree/bin
    dd if=/dev/urandom of=tree/usr/big bs=1048576 count="$2" status=none
    tar -C tree -cf "$1.tar" . && rm -rf tree
}

title "A pool, a store in it with a reserve of 16 MiB, and ballast that takes room away exactly"
truncate -s 4G tank.img
zpool create -O mountpoint=none tank "$work/tank.img" || die "no pool"
zfs create -o mountpoint=none tank/ballast || die "no ballast"
mkdir -p /etc/zchroot
cat >/etc/zchroot/zchroot.toml <<'TOML'
version = 1
store = "zfs"
digests = "never"
[zfs]
pool = "tank"
reserve = "16M"
[space]
hard-floor = "0"
soft-floor = "0"
soft-percent = 0
TOML
cat /etc/zchroot/zchroot.toml
show 0 "$ZCHROOT" init
archive old 60
archive new 60
archive base 1

title "(a) The first attempt meets no room, a sweep evicts what is warm, the second succeeds"
show 0 "$ZCHROOT" image import old.tar
leave 40
show 0 "$ZCHROOT" image import new.tar
said 'No space left on device'
said 'swept 1 thing'
said 'trying once more'
said 'unpacked'
show 0 "$ZCHROOT" image list
[[ $(grep -c warm output) = 1 ]] || die "there is more than the new image"

title "(b) Nothing may be evicted: the second attempt fails too, with the sum, and leaves nothing"
show 0 "$ZCHROOT" image remove "$(sha256sum new.tar | cut -c1-64)"
leave 40
show 1 "$ZCHROOT" image import new.tar
said 'swept nothing'
said 'zchroot: no room to keep the image: '
show 0 zfs list -r -d 1 -o name,used tank/zchroot/images
[[ $(wc -l <output) = 2 ]] || die "a draft is left"

title "(c) The same by a quota: EDQUOT"
zfs set refreservation=none tank/ballast
zfs create -o mountpoint=none tank/zchroot/ballast
zfs set quota=$(($(zfs get -Hpo value used tank/zchroot) + 40 * 1048576)) tank/zchroot
show 1 "$ZCHROOT" image import new.tar
said 'quota exceeded'
zfs set quota=none tank/zchroot
zfs destroy tank/zchroot/ballast

title "(d) Full to the last byte: a commit takes the reserve"
show 0 "$ZCHROOT" create base --from base.tar
show 0 "$ZCHROOT" source begin base -n work
show 0 "$ZCHROOT" gc
for image in $("$ZCHROOT" image list --json | grep -o '"digest": "[0-9a-f]*"' | cut -d'"' -f4); do
    "$ZCHROOT" image remove "$image" 2>/dev/null
done
leave 0
show 0 "$ZCHROOT" source commit work
said 'released the reserve'
show 0 "$ZCHROOT" reserve

title "(e) It is laid again when there is room twice over"
leave 24
show 0 "$ZCHROOT" gc
show 1 "$ZCHROOT" reserve lay
leave 40
show 0 "$ZCHROOT" gc
said 'laid the reserve'

title "(f) Below the hard floor nothing is begun"
sed -i 's/hard-floor = "0"/hard-floor = "1G"/' /etc/zchroot/zchroot.toml
show 1 "$ZCHROOT" begin base
said '1.00 GiB is the least (hard-floor)'

printf '\nrecipe: all transitions were as they should be\n'
umount /var/lib/zchroot
zpool destroy tank
