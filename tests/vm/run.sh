#!/bin/sh
# Boots a Debian kernel with the driver `vivid` (a camera without hardware) in qemu and runs the real program on it.
# Needs Debian 12 on x86-64 with apt, cargo, python3 and gzip; installs nothing: kernel, busybox, v4l2-ctl and, where it is
# missing, qemu are downloaded as packages and unpacked under target/vm. Emulated it takes some minutes; VM_ACCEL=kvm uses the hardware.
#
#   sh tests/vm/run.sh            prints each check and a summary line; leaves the console in target/vm/console.log
#   sh tests/vm/run.sh --record   also writes the summary with date and commit to tests/vm/RESULT.md
set -eu

here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
work=$root/target/vm
mkdir -p "$work/debs"
cd "$work"

# Unpacks packages, downloading those that are not there yet: unpack DIR PACKAGE…
unpack() {
    dir=$1
    shift
    for package in "$@"; do
        ls debs/"${package%%:*}"_*.deb >/dev/null 2>&1 || (cd debs && apt-get download -q "$package" >/dev/null 2>&1)
        dpkg-deb -x "$(ls debs/"${package%%:*}"_*.deb | head -n 1)" "$dir"
    done
}

if [ ! -e unpacked/done ]; then
    kernel=$(apt-cache search --names-only '^linux-image-[0-9.]*-[0-9]*-amd64$' | cut -d' ' -f1 | sort -V | tail -n 1)
    [ -n "$kernel" ] || { echo "vm: apt offers no linux-image-…-amd64; run apt-get update" >&2; exit 1; }
    unpack unpacked "$kernel" busybox-static v4l-utils libv4l-0 libv4lconvert0 libv4l2rds0 libjpeg62-turbo
    if ! command -v qemu-system-x86_64 >/dev/null; then
        # Everything that installing it would bring.
        unpack unpacked $(apt-get install -s --no-install-recommends qemu-system-x86 | awk '/^Inst/ { print $2 }')
    fi
    : >unpacked/done
fi
libs=$work/unpacked/usr/lib/x86_64-linux-gnu:$work/unpacked/lib/x86_64-linux-gnu

# EDGE_RCNN_BUILD names a folder in which the program has been built already.
build=${EDGE_RCNN_BUILD:-}
if [ -z "$build" ]; then
    build=${CARGO_TARGET_DIR:-$root/target}/release
    (cd "$root" && cargo build --release --bin edge-rcnn --example tiny_bundle)
fi
program=$build/edge-rcnn
[ -e model/model.toml ] || "$build/examples/tiny_bundle" model

# The first file system: programs with the libraries they need, the driver's modules in their order, the model.
rm -rf guest
mkdir -p guest/bin guest/lib64 guest/mods guest/proc guest/sys guest/dev guest/tmp
cp unpacked/bin/busybox "$program" unpacked/usr/bin/v4l2-ctl guest/bin/
strip guest/bin/edge-rcnn 2>/dev/null || true
for binary in "$program" unpacked/usr/bin/v4l2-ctl; do
    LD_LIBRARY_PATH=$libs ldd "$binary" | awk '$2 == "=>" { print $3 }' | sort -u | xargs cp -L -t guest/lib64
done
cp -L /lib64/ld-linux-x86-64.so.2 guest/lib64/
cp -r model guest/model
cp "$here/init" guest/init
cp "$here/guest.sh" guest/guest.sh
chmod +x guest/init
version=$(ls unpacked/lib/modules)
unpacked/bin/busybox depmod -b unpacked "$version"
: >guest/mods/order
for name in videodev vivid; do
    line=$(grep "/$name\.ko:" "unpacked/lib/modules/$version/modules.dep")
    # What a module needs comes after the colon, the deepest last.
    for module in $(echo "${line#*:}" | tr ' ' '\n' | tac) "${line%%:*}"; do
        file=$(basename "$module")
        grep -qx "$file" guest/mods/order && continue
        cp "unpacked/lib/modules/$version/$module" guest/mods/
        echo "$file" >>guest/mods/order
    done
done
(cd guest && find . | ../unpacked/bin/busybox cpio -o -H newc 2>/dev/null | gzip -1) >initrd.gz

qemu=qemu-system-x86_64
command -v $qemu >/dev/null || qemu="env LD_LIBRARY_PATH=$libs unpacked/usr/bin/qemu-system-x86_64 -L unpacked/usr/share/qemu \
    -L unpacked/usr/share/seabios -L unpacked/usr/lib/ipxe/qemu"
accel=${VM_ACCEL:-tcg}
echo "vm: booting Linux $version ($accel)"
timeout "${VM_TIMEOUT:-1800}" $qemu -M q35 -accel "$accel" -cpu max -smp 1 -m 768 -nographic -no-reboot -net none -nodefaults \
    -serial stdio -monitor none -kernel "unpacked/boot/vmlinuz-$version" -initrd initrd.gz \
    -append "console=ttyS0 quiet loglevel=1 panic=-1 mitigations=off tsc=reliable no_timer_check" \
    </dev/null >console.log 2>&1 || echo "vm: qemu ended with $?" >&2

python3 "$here/judge.py" console.log | tee result.txt
last=$(tail -n 1 result.txt)
if [ "${1:-}" = --record ]; then
    {
        echo "# Last run of tests/vm/run.sh"
        echo
        echo "$(date -u +%Y-%m-%d), commit $(git -C "$root" rev-parse --short HEAD), Linux $version in qemu ($accel)."
        echo
        echo '```'
        cat result.txt
        echo '```'
    } >"$here/RESULT.md"
fi
case $last in *" 0 failed"*) ;; *) exit 1 ;; esac
