# extras.sh TREE: puts one of everything into a tree that Debian has none of: attributes, holes, nodes, odd names.
set -eu
at="$1/srv/extras"
rm -rf -- "$at"
mkdir -p "$at/sticky" "$at/closed" "$at/setgid" "$at/default-acl" "$at/linked"

cp "$1/usr/bin/true" "$at/capable"
setcap cap_net_raw,cap_net_bind_service+ep "$at/capable"
cp "$1/usr/bin/true" "$at/setuid"
chown 1234:42 "$at/setuid"
chmod 6755 "$at/setuid"
echo labelled >"$at/labelled"
setfattr -n user.plain -v value "$at/labelled"
setfattr -n user.bytes -v 0x0a3132ff003d "$at/labelled"
setfattr -n user.directory -v d "$at/sticky"
echo acl >"$at/acl"
setfacl -m u:100001:rw,g:100002:r,m::rw "$at/acl"
setfacl -m u:100001:rx "$at/default-acl"
setfacl -d -m u:100001:rwx,g:100003:rx "$at/default-acl"
echo owned >"$at/owned"
chown 3000000:4000000 "$at/owned"

truncate -s 64M "$at/sparse" "$at/hole"
for piece in 1 17 40 63; do
    printf piece | dd of="$at/sparse" bs=1 seek=$((piece * 1048576 - 4096)) conv=notrunc status=none
done
mkfifo -m 622 "$at/fifo"
mknod -m 666 "$at/null" c 1 3
mknod -m 660 "$at/disk" b 259 70000
chown 0:6 "$at/disk"

echo linked >"$at/linked/one"
ln "$at/linked/one" "$at/linked/two"
ln "$at/linked/one" "$at/three"
ln -s /etc/passwd "$at/absolute"
chown -h 7:8 "$at/absolute"
ln -s nowhere "$at/dangling"
ln "$at/dangling" "$at/dangling-too"

long=$(printf '%0120d' 0)
mkdir -p "$at/$long/$long/$long"
echo long >"$at/$long/$long/$long/$(printf '%0250d' 7)"
ln "$at/$long/$long/$long/$(printf '%0250d' 7)" "$at/long-link"
ln -s "$long/$long" "$at/long-target"
echo odd >"$at/$(printf 'not-utf8-\377-\n-end')"
echo blank >"$at/ blank \\ and = 'quotes'"

chmod 1777 "$at/sticky"
chmod 000 "$at/closed"
chmod 2755 "$at/setgid"
touch -d @1000000000.123456789 "$at/labelled" "$at/sticky"
touch -d @-86400.5 "$at/owned"
touch -d @4102444800.999999999 "$at/acl"
touch -h -d @1100000000 "$at/dangling"
touch -d @1200000000.000000005 "$at" "$at/fifo"
