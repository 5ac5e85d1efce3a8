# What a process inside of the unit's sandbox may and may not do. Prints one word for each thing that it could do.
could() {
    word=$1
    shift
    ("$@") >/dev/null 2>&1 && echo "could $word"
}
write() { echo x >"$1"; }
echo "user $(id -u)"
could write-state write "$STATE_DIRECTORY/probe"
could write-tmp write /tmp/probe
could read-settings cat "$CONFIGURATION_DIRECTORY/edge-rcnn.toml"
could read-processors cat /proc/cpuinfo
could open-camera bash -c 'exec 3<>/dev/video0'
could open-disk bash -c 'exec 3</dev/open-disk'
could write-settings write "$CONFIGURATION_DIRECTORY/probe"
could write-usr write /usr/probe
could write-home write /root/probe
could write-kernel-settings write /proc/sys/kernel/hostname
could see-others test -e /proc/1/comm
could use-network bash -c 'exec 3<>/dev/tcp/127.0.0.1/9 || exec 3<>/dev/udp/127.0.0.1/9'
could make-namespaces unshare --user true
could mount mount -t tmpfs none /tmp
could set-clock date -s 2020-01-01
could set-hostname hostname elsewhere
could be-more-important renice -n -10 $$
could read-kernel-log dmesg
could make-devices mknod /tmp/node c 1 3
could become-root su -c true
exit 0
