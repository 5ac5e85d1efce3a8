#!/bin/sh
# Makes a fresh Debian with systemd in the folder $1, and in its /parts the checks and what they install. Needs root and
# debootstrap.
#
# With EDGE_RCNN_DEB that Debian package, else the program in the folder EDGE_RCNN_BUILD with the unit, as by hand.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
work=$root/target/systemd
suite=${SYSTEMD_SUITE:-bookworm}
[ "$(id -u)" = 0 ] || { echo "systemd: needs root, for name spaces and mounts" >&2; exit 1; }
command -v debootstrap >/dev/null || { echo "systemd: needs debootstrap (Debian package debootstrap)" >&2; exit 1; }

# The fresh Debian is kept; each run starts from a copy of it.
mkdir -p "$work"
if [ ! -e "$work/$suite/etc/debian_version" ]; then
    echo "systemd: unpacking Debian $suite (once)"
    rm -rf "$work/part"
    debootstrap --variant=minbase --include=systemd,systemd-sysv,udev "$suite" "$work/part" >"$work/debootstrap.log" 2>&1 ||
        { tail -n 5 "$work/debootstrap.log" >&2; exit 1; }
    rm -rf "$work/part/var/cache/apt/archives" "$work/part/var/lib/apt/lists"
    mv "$work/part" "$work/$suite"
fi
rm -rf "$1"
cp -a "$work/$suite" "$1"
mkdir -p "$1/parts"
for part in inside.sh camera.sh package.sh probe.sh; do
    cp "$here/$part" "$1/parts/"
done
cp "$root"/cross/systemd/* "$1/parts/"
if [ -n "${EDGE_RCNN_DEB:-}" ]; then
    cp "$EDGE_RCNN_DEB" "$1/parts/edge-rcnn.deb"
    # The same as a later version.
    rm -rf "$work/next"
    dpkg-deb -R "$EDGE_RCNN_DEB" "$work/next"
    sed -i 's/^Version: .*/&+next/' "$work/next/DEBIAN/control"
    dpkg-deb --root-owner-group -Znone --build "$work/next" "$1/parts/edge-rcnn-next.deb" >/dev/null
else
    cp "$EDGE_RCNN_BUILD/edge-rcnn" "$1/parts/"
    strip "$1/parts/edge-rcnn" 2>/dev/null || true
fi
