#!/bin/bash
# The first and only service of a test machine: runs one job as root, says how it ended, powers off.
# The kernel hands its unknown name=value words on as our environment:
#   vm_machine  uml | qemu
#   vm_dir      uml: the directory of this run on the host, seen through hostfs
#   vm_mode     job (the default) | shell | probe
#   vm_keep     1: the scratch disk outlives this run, so leave it clean
#   vm_size     ROWSxCOLUMNS of the terminal, for a shell
# The disks: a = root, b = scratch (ext4); qemu besides: c = what is carried in (ext4), d = what is carried out (raw).
# Lines that begin with @@vm: are for the host, everything between begin and end is the job's own output.

export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
export HOME=/root USER=root LOGNAME=root SHELL=/bin/bash LANG=C.UTF-8 TERM="${TERM:-dumb}"

# SAFETY for the host: nothing below may end without this, else pid 1 exits and the kernel panics
# (which the host reports as an error as well).
power_off() {
    # reboot(2), LINUX_REBOOT_CMD_POWER_OFF: there is no systemd to do it for us.
    perl -e 'syscall(169, 0xfee1dead, 0x28121969, 0x4321fedc, 0)'
}

fail() {
    echo "@@vm:fail $*"
    power_off
}

mount_all() {
    mount -t proc -o nosuid,nodev,noexec proc /proc
    mount -t sysfs -o nosuid,nodev,noexec sysfs /sys
    # DEVTMPFS_MOUNT may have been there first.
    mountpoint -q /dev || mount -t devtmpfs -o mode=755,nosuid devtmpfs /dev
    mkdir -p /dev/pts /dev/shm /dev/mqueue
    mount -t devpts -o gid=5,mode=620,ptmxmode=666 devpts /dev/pts
    mount -t tmpfs -o nosuid,nodev shm /dev/shm
    mount -t mqueue mqueue /dev/mqueue 2>/dev/null
    ln -sfn /proc/self/fd /dev/fd
    ln -sfn fd/0 /dev/stdin
    ln -sfn fd/1 /dev/stdout
    ln -sfn fd/2 /dev/stderr
    mount -t tmpfs -o mode=755,nosuid,nodev run /run
    mkdir -p /run/lock && chmod 1777 /run/lock
    mount -t tmpfs -o mode=1777,nosuid,nodev tmp /tmp
    mount -t cgroup2 -o nosuid,nodev,noexec cgroup2 /sys/fs/cgroup
    echo '+memory +pids' >/sys/fs/cgroup/cgroup.subtree_control
    mount --make-rprivate /
}

# Puts the files of the job at /in and the scratch disk at /scratch.
mount_disks() {
    local disk
    case $vm_machine in
        uml)
            disk=ubd
            mkdir -p /run/vm
            mount -t hostfs none /run/vm -o "hostfs=$vm_dir" || return
            mount --bind /run/vm/in /in && mount -o remount,bind,ro /in || return
            ;;
        qemu)
            disk=vd
            mount -o ro "/dev/${disk}c" /in || return
            ;;
    esac
    # A disk in tmpfs cannot be told to zero a range, and a sparse one need not be.
    mount -o noinit_itable "/dev/${disk}b" /scratch || return
    chmod 1777 /scratch
    mkdir -p /results
}

# Hands the exit status and /results to the host.
carry_out() {
    echo "$1" >/run/vm-status
    local out
    case $vm_machine in
        uml) out=/run/vm/out.tar ;;
        qemu) out=/dev/vdd ;;
    esac
    # The job may have left what cannot be read at once, so tar's complaints are not fatal; a missing status is.
    tar -cf "$out" -C /run vm-status -C /results .
    sync "$out"
}

# Runs the job with a pipe for its output: what it starts must not think that it talks to a terminal.
run_job() {
    local status reader tries
    cd /scratch || return
    bash /in/.job </dev/null > >(exec cat) 2>&1
    status=$?
    reader=$!
    # Whoever still holds the pipe is the job's left-over; it gets a second, then everything dies.
    for ((tries = 0; tries < 20; tries++)); do
        kill -0 "$reader" 2>/dev/null || break
        sleep 0.05
    done
    cd /
    return "$status"
}

run_shell() {
    local tty=/dev/ttyS0
    [ "$vm_machine" = uml ] && tty=/dev/tty0
    [ -n "$vm_size" ] && stty -F "$tty" rows "${vm_size%x*}" cols "${vm_size#*x}"
    stty -F "$tty" sane
    cd /root || return
    setsid -c bash --rcfile /in/.job -i <"$tty" >"$tty" 2>&1
}

mount_all
# The console is a terminal: without this every line ends in CR LF.
[ "$vm_mode" = shell ] || stty -F /dev/console -opost 2>/dev/null
[ "$vm_mode" = probe ] && fail probed

hostname zchroot-vm
ip link set lo up
modprobe zfs || fail 'the zfs module does not load'
mount_disks || fail 'the disks cannot be mounted'
# The tests' guard: whoever makes or destroys a pool looks for this first.
echo "machine=$vm_machine" >/etc/zchroot-test-vm

echo "@@vm:begin"
if [ "$vm_mode" = shell ]; then
    run_shell
else
    run_job
fi
status=$?
echo "@@vm:end $status"

kill -KILL -1
carry_out "$status"
if [ "$vm_keep" = 1 ]; then
    timeout -s KILL 30 zpool export -a -f
    umount /scratch
fi
power_off
