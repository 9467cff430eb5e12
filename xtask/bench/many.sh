# On this host, in a mount namespace of the run's own: the program in schroot's place, and 1,000 standing sessions. schroot's
# are one and copies of its session file: it reads those, and looks at nothing else to list them.
MANY=1000
for dir in etc/zchroot var/lib/zchroot run/zchroot; do
    [ -d "/$dir" ] || undo+=("rmdir -- '/$dir'")
    mkdir -p "/$dir" "$WORK/root/$dir"
    mount --bind "$WORK/root/$dir" "/$dir"
    undo+=("umount -l -- '/$dir'")
done
mkdir "$WORK/face"
ln -s "$ZCHROOT" "$WORK/face/schroot"
face=$WORK/face/schroot
zchroot=("$ZCHROOT")

"${zchroot[@]}" -q create bench-many --from "$TREE" -m benchmark
sed -i 's/^profile = .*/profile = "minimal"/' /etc/zchroot/templates.d/bench-many.toml
schroot_chroot zchroot-bench-many minimal type=directory "directory=$WORK/tree"
undo+=("'$ZCHROOT' -q end --all")

echo "$MANY sessions" >&2
sessions=/var/lib/schroot/session
schroot -q -b -c zchroot-bench-many -n zchroot-bench-many-0 >/dev/null
undo+=("find '$sessions' -name 'zchroot-bench-many-copy*' -delete")
for ((i = 1; i < MANY; i++)); do
    sed "s/zchroot-bench-many-0/zchroot-bench-many-copy$i/g" $sessions/zchroot-bench-many-0 \
        >"$sessions/zchroot-bench-many-copy$i"
done
for ((i = 0; i < MANY; i++)); do
    "${zchroot[@]}" -q begin bench-many -n "zchroot-bench-many-$i" >/dev/null
done

cases() {
    local z="${zchroot[*]}" id=zchroot-bench-many-0
    time_one "$1" many-exec_zchroot_none '' '' "$face -q -r -c session:$id -d / -- true" ''
    time_one "$1" many-exec_schroot_none '' '' "schroot -q -r -c session:$id -d / -- true" ''
    time_one "$1" many-list_zchroot_none '' '' "$face -l --all-sessions" ''
    time_one "$1" many-list_schroot_none '' '' "schroot -l --all-sessions" ''
    time_one "$1" many-info_zchroot_none '' '' "$face -i -c session:$id" ''
    time_one "$1" many-info_schroot_none '' '' "schroot -i -c session:$id" ''
    time_one "$1" many-own-list_zchroot_none '' '' "$z list --sessions" ''
    time_one "$1" many-own-list_schroot_none '' '' "schroot -l --all-sessions" ''
    time_one "$1" many-own-info_zchroot_none '' '' "$z info $id" ''
    time_one "$1" many-own-info_schroot_none '' '' "schroot -i -c session:$id" ''
}
