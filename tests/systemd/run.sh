#!/bin/sh
# Runs the shipped unit under a real systemd: a Debian of its own in fresh name spaces, no virtual machine (boot.sh).
# Needs root, debootstrap and a mounted cgroup2; changes nothing outside of target/systemd.
#
#   sh tests/systemd/run.sh             prints each check and a summary line
#   sh tests/systemd/run.sh --record    also writes them with date and commit to tests/systemd/RESULT.md
#
# EDGE_RCNN_BUILD names a folder in which the program has been built already. With EDGE_RCNN_DEB that Debian package is
# installed there instead of program and unit by themselves, then upgraded, removed and purged (package.sh).
set -eu

here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
work=$root/target/systemd
suite=${SYSTEMD_SUITE:-bookworm}
[ "$(id -u)" = 0 ] || { echo "systemd: needs root, for name spaces and mounts" >&2; exit 1; }
command -v debootstrap >/dev/null || { echo "systemd: needs debootstrap (Debian package debootstrap)" >&2; exit 1; }

build=${EDGE_RCNN_BUILD:-}
if [ -z "$build" ] && [ -z "${EDGE_RCNN_DEB:-}" ]; then
    build=${CARGO_TARGET_DIR:-$root/target}/release
    (cd "$root" && cargo build --release --bin edge-rcnn)
fi

# The fresh Debian is kept; each run starts from a copy of it.
mkdir -p "$work"
if [ ! -e "$work/$suite/etc/debian_version" ]; then
    echo "systemd: unpacking Debian $suite (once)"
    rm -rf "$work/part"
    debootstrap --variant=minbase --include=systemd,systemd-sysv "$suite" "$work/part" >"$work/debootstrap.log" 2>&1 ||
        { tail -n 5 "$work/debootstrap.log" >&2; exit 1; }
    rm -rf "$work/part/var/cache/apt/archives" "$work/part/var/lib/apt/lists"
    mv "$work/part" "$work/$suite"
fi
rm -rf "$work/root"
cp -a "$work/$suite" "$work/root"

# What the checks use, and what they install.
mkdir -p "$work/root/parts"
cp "$here/inside.sh" "$here/package.sh" "$here/probe.sh" "$root"/cross/systemd/* "$work/root/parts/"
if [ -n "${EDGE_RCNN_DEB:-}" ]; then
    how="as a Debian package"
    cp "$EDGE_RCNN_DEB" "$work/root/parts/edge-rcnn.deb"
    # The same as a later version.
    rm -rf "$work/next"
    dpkg-deb -R "$EDGE_RCNN_DEB" "$work/next"
    sed -i 's/^Version: .*/&+next/' "$work/next/DEBIAN/control"
    dpkg-deb --root-owner-group -Znone --build "$work/next" "$work/root/parts/edge-rcnn-next.deb" >/dev/null
else
    how="by hand"
    cp "$build/edge-rcnn" "$work/root/parts/"
    strip "$work/root/parts/edge-rcnn" 2>/dev/null || true
fi

BOOT_LOG=$work/console.log bash "$here/boot.sh" "$work/root" bash /parts/inside.sh >"$work/result.txt" 2>"$work/errors.txt" || true
cat "$work/result.txt"
cat "$work/errors.txt" >&2
passed=$(grep -c '^ok ' "$work/result.txt" || true)
failed=$(grep -c '^FAILED ' "$work/result.txt" || true)
# The checks say when they have come to their end.
grep -q '^done$' "$work/result.txt" || failed=$((failed + 1))
summary="systemd: $((passed + failed)) checks, $failed failed"
echo "$summary"
if [ "${1:-}" = --record ]; then
    {
        echo "# Last run of tests/systemd/run.sh"
        echo
        echo "$(date -u +%Y-%m-%d), commit $(git -C "$root" rev-parse --short HEAD), $(grep -m 1 '^systemd ' "$work/result.txt"), installed $how."
        echo
        echo '```'
        grep -E '^(ok|FAILED) ' "$work/result.txt"
        echo "$summary"
        echo '```'
    } >"$here/RESULT.md"
fi
[ "$failed" = 0 ]
