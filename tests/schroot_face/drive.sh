#!/bin/sh
# Runs a table of invocations of schroot and prints what each did, in the form of the *.recorded files.
# usage, as root: drive.sh PROGRAM TABLE
#
# PROGRAM is put in place as `schroot`: Debian's own /usr/bin/schroot to record, zchroot to compare. All happens
# in a mount namespace of its own with an /etc, /var/lib and /run of its own: /etc/schroot has just the configuration
# that the table names, and neither program finds any state. Nothing of the host is touched.
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
mkdir -p "$work/bin" "$work/etc" "$work/lib/schroot/session" "$work/lib/schroot/unpack" "$work/run" \
    "$work/lib/schroot/union/overlay" "$work/lib/schroot/union/underlay" "$work/run/lock"
ln -s "$(realpath "$1")" "$work/bin/schroot"
cp -a /etc/. "$work/etc/"
rm -rf "$work/etc/zchroot" "$work/etc/schroot/chroot.d"
mkdir -p "$work/etc/schroot/chroot.d"
echo '# nothing' > "$work/etc/schroot/schroot.conf"
mount --bind "$work/etc" /etc
mount --bind "$work/lib" /var/lib
mount --bind "$work/run" /run
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
