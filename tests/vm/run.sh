#!/bin/bash
# Boots a Debian kernel with the drivers `vivid` (a camera without hardware) and `v4l2loopback` (one that shows what is
# written to it; loopback.sh builds it) in qemu and runs the real program on them.
# Needs Debian 12 on x86-64 with apt, python3, gzip, and make and gcc (of that processor) for loopback.sh. Installs nothing but
# what building needs and is missing, Rust and gcc (cross/setup.sh): kernel, busybox, v4l2-ctl and, where it is missing, qemu
# are downloaded as packages and unpacked under target/vm. Emulated it takes some minutes; VM_ACCEL=kvm uses the hardware.
#
#   tests/vm/run.sh [--record] [x86_64|aarch64]
#
# prints each check and a summary line, and leaves the console in target/vm/console-….log; --record also writes the summary
# with date and commit to tests/vm/RESULT.md (RESULT-aarch64.md).
set -euo pipefail

recorded=
[ "${1:-}" != --record ] || { recorded=yes; shift; }
arch=${1:-x86_64}
for tool in make python3 gzip; do
    command -v $tool >/dev/null || { echo "vm: needs $tool (Debian package $tool)" >&2; exit 1; }
done
. "$(dirname "$0")/machine.sh"
sh "$root/cross/setup.sh" --cross "$arch"

# EDGE_RCNN_BUILD names a folder in which the program has been built already.
build=${EDGE_RCNN_BUILD:-}
if [ -z "$build" ] && [ "$arch" = x86_64 ]; then
    build=${CARGO_TARGET_DIR:-$root/target}/release
    (cd "$root" && cargo build --release --bin edge-rcnn --example tiny_bundle)
elif [ -z "$build" ]; then
    build=${CARGO_TARGET_DIR:-$root/target}/$target/dist
    (cd "$root" && cross/build.sh "$arch" && cargo build --locked --profile dist --target "$target" --example tiny_bundle)
fi
small_network "$build"

# Programs with the libraries they need, the drivers, the model.
furnish "$here/init" videodev vivid
mkdir -p guest/lib guest/lib64
cp unpacked/usr/bin/v4l2-ctl "$build/edge-rcnn" guest/bin/
"$gnu-strip" guest/bin/edge-rcnn 2>/dev/null || true
find unpacked/lib unpacked/usr/lib -name '*.so*' -path "*$arch-linux-gnu*" ! -path '*/gconv/*' -exec cp -L -t guest/lib64 {} + 2>/dev/null || true
cp -L "$(find unpacked -name $loader | head -n 1)" guest/lib64/
cp -L guest/lib64/$loader guest/lib/
cp -r ../model guest/model
cp "$here/guest.sh" guest/guest.sh
"$here/loopback.sh" "$arch" "$version" "$PWD/guest/mods/v4l2loopback.ko"
cp "$root/tests/photos/astronaut.jpg" guest/photo.jpg
boot "../console-$arch.log"

python3 "$here/judge.py" "../console-$arch.log" | tee result.txt
last=$(tail -n 1 result.txt)
suffix=
[ "$arch" = x86_64 ] || suffix=-$arch
[ -z "$recorded" ] || record "RESULT$suffix.md" "tests/vm/run.sh $arch" result.txt
case $last in *" 0 failed"*) ;; *) exit 1 ;; esac
