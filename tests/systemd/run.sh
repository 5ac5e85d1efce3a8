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
build=${EDGE_RCNN_BUILD:-}
if [ -z "$build" ] && [ -z "${EDGE_RCNN_DEB:-}" ]; then
    build=${CARGO_TARGET_DIR:-$root/target}/release
    (cd "$root" && cargo build --release --bin edge-rcnn)
fi

how="by hand"
[ -z "${EDGE_RCNN_DEB:-}" ] || how="as a Debian package"
EDGE_RCNN_BUILD=$build sh "$here/root.sh" "$work/root"

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
