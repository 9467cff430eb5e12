# Makes the root file system of a machine: user land, modules and init into one ext4 image.
# Runs under fakeroot when we are not root: nothing here needs a mount, a chroot or a device.
#   tree  where to unpack (empty)      rootfs   the user land (tar)      modules  the kernel's modules (tar of ./VERSION)
#   init  the guest's init             image    what to make             size     of the image, sparse
set -eu
tar -C "$tree" --xattrs --xattrs-include='*' --numeric-owner -xpf "$rootfs"
mkdir -p "$tree/usr/lib/modules" "$tree/in" "$tree/scratch" "$tree/results"
tar -C "$tree/usr/lib/modules" --no-same-owner -xf "$modules"
install -m 755 "$init" "$tree/vm-init"
echo zchroot-vm >"$tree/etc/hostname"
echo '127.0.0.1 localhost zchroot-vm' >"$tree/etc/hosts"
: >"$tree/etc/fstab"
# The tables are written now: a copy-on-write disk cannot zero blocks later.
mke2fs -q -t ext4 -E lazy_itable_init=0,lazy_journal_init=0 -d "$tree" "$image" "$size"
