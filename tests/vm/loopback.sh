#!/bin/bash
# Builds the driver `v4l2loopback`, a camera that shows what is written to it, for the kernel of the virtual machine: vivid
# has no motion JPEG. The kernel's headers are unpacked, not installed, and the paths in them turned to where they are.
#
#   tests/vm/loopback.sh x86_64|aarch64 KERNEL-VERSION MODULE
#
# Needs Debian with make and a C compiler for that processor.
set -euo pipefail

arch=$1 version=$2 module=$3
root=$(cd "$(dirname "$0")/../.." && pwd)
dir=$root/target/vm
. "$root/cross/apt.sh"
case $arch in
x86_64) debian=amd64 called=x86 prefix= ;;
aarch64) debian=arm64 called=arm64 prefix=aarch64-linux-gnu- ;;
*) echo "loopback: x86_64 or aarch64" >&2 && exit 2 ;;
esac
for tool in make "${prefix}gcc" "${prefix}strip"; do
    command -v "$tool" >/dev/null || { echo "loopback: needs $tool" >&2; exit 1; }
done
into=$dir/loopback-$version
if [ ! -e "$into/done" ]; then
    release=${version%-"$debian"}
    series=$(echo "$release" | cut -d. -f1,2)
    ours=$(dpkg --print-architecture)
    rm -rf "$into"
    update "$debian"
    update "$ours"
    unpack "$debian" "$into" "linux-headers-$version" "linux-headers-$release-common"
    # These run on the machine that builds.
    unpack "$ours" "$into" "linux-kbuild-$series" v4l2loopback-dkms
    headers=$into/usr/src/linux-headers-$version
    find "$headers" -maxdepth 1 -type f -exec sed -i "s,/usr/src/,$into&,g" {} +
    cp -r "$into"/usr/src/v4l2loopback-[0-9]* "$into/module"
    make -s -C "$headers" M="$into/module" ARCH=$called CROSS_COMPILE=$prefix modules >"$into/log" 2>&1 ||
        { tail -n 20 "$into/log" >&2; exit 1; }
    touch "$into/done"
fi
"${prefix}strip" --strip-debug -o "$module" "$into/module/v4l2loopback.ko"
