#!/bin/bash
# Boots the systemd of a Debian unpacked in ROOT as the first process of new name spaces and runs a command in it:
#
#   bash boot.sh ROOT COMMAND…
#
# Process numbers, mounts, host name, network and control groups are its own; only the kernel is shared. Needs root and a
# mounted cgroup2. The console of that system goes to $BOOT_LOG, if set. The exit code is the command's.
set -u

root=$(readlink -f "$1")
shift
log=${BOOT_LOG:-$(mktemp)}
: >"$log"
hierarchy=$(awk '$3 == "cgroup2" { print $2; exit }' /proc/mounts)
[ -n "$hierarchy" ] || { echo "boot: no cgroup2 is mounted" >&2; exit 1; }
group=$hierarchy/edge-rcnn-boot-$$
mkdir "$group" || exit 1

# What the system finds when it starts: fresh /proc, /run, /tmp and /dev, and its control group as the whole tree.
furnish='
    set -e
    mount --bind "$1" "$1" && cd "$1"
    mount -t proc proc proc
    mount -t sysfs -o ro sysfs sys
    mount -t tmpfs -o mode=755 tmpfs run
    mount -t tmpfs tmpfs tmp
    mount -t tmpfs -o mode=755 tmpfs dev
    for node in null zero full random urandom tty; do : >dev/$node; mount --bind /dev/$node dev/$node; done
    mkdir dev/pts dev/shm
    mount -t devpts -o newinstance,ptmxmode=0666 devpts dev/pts
    ln -s pts/ptmx dev/ptmx
    ln -s /proc/self/fd dev/fd
    : >dev/console
    mount --bind "$2" dev/console
    mount -t cgroup2 cgroup2 sys/fs/cgroup
    exec env -i container=edge-rcnn-test PATH=/usr/sbin:/usr/bin:/sbin:/bin \
        chroot . /lib/systemd/systemd --log-target=console --show-status=no'
(
    echo "$BASHPID" >"$group/cgroup.procs"
    exec unshare --mount --pid --ipc --uts --net --cgroup --fork --kill-child=KILL --propagation private \
        bash -c "$furnish" _ "$root" "$log"
) &
holder=$!

# Waits up to ten seconds: patiently COMMAND…
patiently() {
    for _ in $(seq 100); do
        "$@" && return
        sleep 0.1
    done
    return 1
}
started() {
    init=$(cat "/proc/$holder/task/$holder/children" 2>/dev/null)
    init=${init%% *}
    [ -n "$init" ] && [ "$(cat "/proc/$init/comm" 2>/dev/null)" = systemd ]
}
inside() { nsenter -t "$init" -m -p -i -u -n -C -r -w "$@"; }
settled() { case $(inside systemctl is-system-running 2>/dev/null) in running | degraded) true ;; *) false ;; esac }

code=1
if patiently started && patiently settled; then
    inside "$@"
    code=$?
else
    echo "boot: systemd did not start:" >&2
    tail -n 20 "$log" >&2
fi

[ -n "$init" ] && inside systemctl --no-block poweroff --force --force >/dev/null 2>&1
gone() { ! kill -0 "$holder" 2>/dev/null; }
patiently gone || kill -KILL "$holder"
wait "$holder" 2>/dev/null
find "$group" -depth -type d -exec rmdir {} \; 2>/dev/null
exit $code
