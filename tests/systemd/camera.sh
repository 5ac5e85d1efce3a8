# Sourced by inside.sh, where the system has a kernel of its own (tests/vm/service.sh): a camera, its device, and limits that
# only a kernel can enforce.

driver=/sys/bus/platform/drivers/vivid
# The disk once more, readable by all: what the unit's list of devices still forbids.
open_disk() {
    mknod -m 666 /dev/open-disk b $(stat -c '0x%t 0x%T' /dev/vda)
    runuser -u nobody -- head -c 1 /dev/open-disk
}
device() { systemctl -q is-active dev-video0.device; }
# At least so many times: said_times COUNT TEXT
said_times() { [ "$(said | grep -cF -- "$2")" -ge "$1" ]; }

camera_checks() {
    fresh
    write_settings
    sed -i -e 's|^source = .*|source = "/dev/video0"|' -e '/^fps = /d' -e '/^size = /d' $settings
    check "starts with a camera" systemctl start $unit
    check "the camera is allowed" within 20 has '"camera":"streaming"'
    check "its frames come" within 20 has '{"type":"frame"'
    if [ -e /parts/edge-rcnn.deb ]; then
        check "the camera belongs to the group video" is "$(stat -c '%G %a' /dev/video0)" "video 660"
        # It was there before the package.
        check "the camera is a unit that others can bind to" within 5 device
    fi
    check "the limit of memory is in force" is "$(cat "/sys/fs/cgroup$(property ControlGroup)/memory.max")" 1073741824

    old=$(pid)
    kill -STOP "$old"
    check "stopped in its tracks with the camera open, it is started again" within 20 restarted "$old"
    check "and the camera is free for it" within 20 has '{"type":"frame"'

    old=$(pid)
    echo vivid.0 >$driver/unbind
    check "unplugged, the camera is told as lost" within 20 has '"camera":"lost"'
    echo vivid.0 >$driver/bind
    check "plugged in, it streams again" within 20 said_times 2 '"camera":"streaming"'
    check "in the same process" is "$(pid)" "$old"
    [ ! -e /parts/edge-rcnn.deb ] || check "and is a unit again" within 5 device

    stops_with_bye "with a camera, too,"
    fresh
}
