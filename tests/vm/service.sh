#!/bin/bash
# Boots a whole Debian with systemd, udev and a camera (the driver vivid) in qemu, installs the package there and checks what
# the service does: the checks of tests/systemd, and those that need a kernel of its own (tests/systemd/camera.sh).
# Needs what run.sh needs, root and debootstrap, which makes the file system. VM_ACCEL=kvm uses the hardware.
#
#   tests/vm/service.sh [--record]
#
# EDGE_RCNN_DEB names a package that has been made already. --record also writes the result with date and commit to
# tests/vm/RESULT-service.md.
set -euo pipefail

arch=x86_64
. "$(dirname "$0")/machine.sh"

if [ -z "${EDGE_RCNN_DEB:-}" ]; then
    "$root/cross/package.sh" "$arch"
    EDGE_RCNN_DEB=$(ls "$root"/target/package/edge-rcnn_*_"$debian".deb)
fi
export EDGE_RCNN_DEB
sh "$root/tests/systemd/root.sh" "$PWD/disk"
if [ "$accel" != kvm ]; then
    small_network "${EDGE_RCNN_BUILD:-${CARGO_TARGET_DIR:-$root/target}/release}"
    cp -r ../model disk/parts/model
fi
cat >disk/etc/systemd/system/checks.service <<END
[Unit]
After=multi-user.target

[Service]
Environment=PATIENCE=$([ "$accel" = kvm ] && echo 1 || echo 10)
ExecStart=bash -c 'stty -F /dev/ttyS1 raw && exec bash /parts/inside.sh >/dev/ttyS1'
StandardError=journal+console
ExecStopPost=systemctl --no-block poweroff

[Install]
WantedBy=multi-user.target
END
mkdir -p disk/etc/systemd/system/multi-user.target.wants
ln -s ../checks.service disk/etc/systemd/system/multi-user.target.wants/
rm -f disk.img
mke2fs -q -t ext4 -d disk disk.img 1G
rm -rf disk

furnish "$here/service-init" virtio_pci virtio_blk crc32c_generic ext4 videodev vivid
: >said.txt
boot ../console-service.log -serial "file:said.txt" -drive file=disk.img,format=raw,if=none,id=disk -device virtio-blk-pci,drive=disk

# The checks say when they have come to their end.
{
    grep -E '^(ok|FAILED) ' said.txt || true
    grep -q '^done$' said.txt || echo "FAILED the checks came to no end: ../console-service.log"
} >result-service.txt
failed=$(grep -c '^FAILED ' result-service.txt || true)
echo "service: $(wc -l <result-service.txt) checks, $failed failed" >>result-service.txt
cat result-service.txt
[ "${1:-}" != --record ] || record RESULT-service.md tests/vm/service.sh result-service.txt
[ "$failed" = 0 ]
