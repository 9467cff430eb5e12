#!/bin/sh
# Runs a table of invocations of schroot and prints what each did, in the form of recorded.txt.
# usage, as root: drive.sh PROGRAM TABLE
#
# PROGRAM is put in place as `schroot`: Debian's own /usr/bin/schroot to record, zchroot to compare. All happens
# in a mount namespace of its own, where /etc/schroot has just the configuration that the table names and both
# programs find no state; the host's /etc/schroot is not touched.
#
# A line of the table is a command for sh, or `= TEXT`, which makes TEXT (as printf's %b) the one file in chroot.d;
# `= main` stands for main.conf.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
table=$(realpath "$2")
if [ -z "${ZCHROOT_FACE_INSIDE:-}" ]; then
    ZCHROOT_FACE_INSIDE=$(mktemp -d)
    export ZCHROOT_FACE_INSIDE
    trap 'rm -rf "$ZCHROOT_FACE_INSIDE"' EXIT
    unshare --mount --propagation private "$0" "$@"
    exit
fi
work=$ZCHROOT_FACE_INSIDE
mount -t tmpfs none "$work"
mkdir -p "$work/bin" "$work/etc/chroot.d" "$work/empty" "$work/schroot/session" "$work/schroot/unpack" \
    "$work/schroot/union/overlay" "$work/schroot/union/underlay"
ln -s "$(realpath "$1")" "$work/bin/schroot"
[ ! -d /etc/schroot ] || for part in /etc/schroot/*; do
    case $part in */schroot.conf | */chroot.d) ;; *) cp -a "$part" "$work/etc/" ;; esac
done
echo '# nothing' > "$work/etc/schroot.conf"
over() {
    mkdir -p "$2" && mount --bind "$1" "$2"
}
over "$work/etc" /etc/schroot
over "$work/schroot" /var/lib/schroot
for dir in /etc/zchroot /var/lib/zchroot /run/zchroot; do
    mkdir -p "$work/empty$dir" && over "$work/empty$dir" "$dir"
done
PATH=$work/bin:$PATH
export PATH
cd /
while IFS= read -r line; do
    case $line in
    '' | '#'*) continue ;;
    '= main') cp "$here/main.conf" /etc/schroot/chroot.d/x && printf '%s\n\n' "$line" && continue ;;
    '= '*) printf '%b' "${line#= }" > /etc/schroot/chroot.d/x && printf '%s\n\n' "$line" && continue ;;
    esac
    status=0
    sh -c "$line" > "$work/out" 2> "$work/err" < /dev/null || status=$?
    printf '$ %s\n' "$line"
    if [ -s "$work/out" ]; then echo --stdout-- && cat "$work/out"; fi
    if [ -s "$work/err" ]; then echo --stderr-- && cat "$work/err"; fi
    printf -- '--exit: %s--\n\n' "$status"
done < "$table"
