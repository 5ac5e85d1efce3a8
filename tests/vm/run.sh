#!/bin/bash
# Boots a Debian kernel with the drivers `vivid` (a camera without hardware) and `v4l2loopback` (one that shows what is
# written to it; loopback.sh builds it) in qemu and runs the real program on them.
# Needs Debian 12 on x86-64 with apt, cargo, python3 and gzip; installs nothing: kernel, busybox, v4l2-ctl and, where it is
# missing, qemu are downloaded as packages and unpacked under target/vm. Emulated it takes some minutes; VM_ACCEL=kvm uses
# the hardware.
#
#   tests/vm/run.sh [--record] [x86_64|aarch64]
#
# prints each check and a summary line, and leaves the console in target/vm/console-….log; --record also writes the summary
# with date and commit to tests/vm/RESULT.md (RESULT-aarch64.md).
set -euo pipefail

record=
[ "${1:-}" != --record ] || { record=yes; shift; }
arch=${1:-x86_64}
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
work=$root/target/vm
dir=$work
. "$root/cross/apt.sh"
. "$root/cross/target.sh"
machines=$work/$debian
mkdir -p "$machines"
cd "$machines"

update "$debian"
if [ ! -e unpacked/done ]; then
    rm -rf unpacked
    kernel=$(apt_of "$debian" apt-cache search --names-only "^linux-image-[0-9.]*-[0-9]*-$debian\$" | cut -d' ' -f1 | sort -V | tail -n 1)
    [ -n "$kernel" ] || { echo "vm: apt offers no linux-image-…-$debian ($work/apt/$debian/log)" >&2; exit 1; }
    unpack "$debian" "$PWD/unpacked" "$kernel" busybox-static v4l-utils libv4l-0 libv4lconvert0 libv4l2rds0 libjpeg62-turbo \
        libc6 libgcc-s1 libstdc++6 libudev1
    touch unpacked/done
fi
case $arch in
x86_64) system=qemu-system-x86_64 package=qemu-system-x86 loader=ld-linux-x86-64.so.2 ;;
aarch64) system=qemu-system-aarch64 package=qemu-system-arm loader=ld-linux-aarch64.so.1 ;;
*) echo "vm: x86_64 or aarch64" >&2 && exit 2 ;;
esac
if ! command -v $system >/dev/null && [ ! -e qemu/done ]; then
    rm -rf qemu
    mkdir qemu
    # Everything that installing it would bring.
    needed=$(apt-get install -s --no-install-recommends $package | awk '/^Inst/ { print $2 }')
    # shellcheck disable=SC2086 # a list
    (cd qemu && apt-get download -q $needed >/dev/null 2>&1 && for deb in *.deb; do dpkg-deb -x "$deb" . && rm "$deb"; done)
    touch qemu/done
fi

# EDGE_RCNN_BUILD names a folder in which the program has been built already.
build=${EDGE_RCNN_BUILD:-}
emulator=
if [ -z "$build" ] && [ "$arch" = x86_64 ]; then
    unset RUSTC RUSTDOC "CARGO_TARGET_${upper}_RUSTFLAGS"
    build=${CARGO_TARGET_DIR:-$root/target}/release
    (cd "$root" && cargo build --release --bin edge-rcnn --example tiny_bundle)
elif [ -z "$build" ]; then
    build=${CARGO_TARGET_DIR:-$root/target}/$target/dist
    (cd "$root" && cross/build.sh "$arch" && cargo build --locked --profile dist --target "$target" --example tiny_bundle)
fi
if [ "$arch" != "$(uname -m)" ]; then
    "$root/cross/toolchain.sh" "$toolchain" qemu
    emulator=$toolchain/bin/qemu-$arch-static
fi
[ -e ../model/model.toml ] || $emulator "$build/examples/tiny_bundle" ../model

# The first file system: programs with the libraries they need, the driver's modules in their order, the model.
rm -rf guest
mkdir -p guest/bin guest/lib guest/lib64 guest/mods guest/proc guest/sys guest/dev guest/tmp
cp unpacked/bin/busybox unpacked/usr/bin/v4l2-ctl "$build/edge-rcnn" guest/bin/
"$gnu-strip" guest/bin/edge-rcnn 2>/dev/null || true
find unpacked/lib unpacked/usr/lib -name '*.so*' -path "*$arch-linux-gnu*" ! -path '*/gconv/*' -exec cp -L -t guest/lib64 {} + 2>/dev/null || true
cp -L "$(find unpacked -name $loader | head -n 1)" guest/lib64/
cp -L guest/lib64/$loader guest/lib/
cp -r ../model guest/model
cp "$here/init" guest/init
cp "$here/guest.sh" guest/guest.sh
chmod +x guest/init
version=$(ls unpacked/lib/modules)
$emulator unpacked/bin/busybox depmod -b unpacked "$version"
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
"$here/loopback.sh" "$arch" "$version" "$PWD/guest/mods/v4l2loopback.ko"
cp "$root/tests/photos/astronaut.jpg" guest/photo.jpg
(cd guest && find . | $emulator ../unpacked/bin/busybox cpio -o -H newc 2>/dev/null | gzip -1) >initrd.gz

qemu=($system)
if ! command -v $system >/dev/null; then
    libs=$PWD/qemu/usr/lib/x86_64-linux-gnu:$PWD/qemu/lib/x86_64-linux-gnu
    qemu=(env "LD_LIBRARY_PATH=$libs" qemu/usr/bin/$system -L qemu/usr/share/qemu -L qemu/usr/share/seabios -L qemu/usr/lib/ipxe/qemu)
fi
accel=tcg
[ "$arch" != "$(uname -m)" ] || accel=${VM_ACCEL:-tcg}
case $arch in
x86_64) machine=(-M q35 -cpu max) console="ttyS0 tsc=reliable no_timer_check" ;;
aarch64) machine=(-M virt -cpu cortex-a72) console=ttyAMA0 ;;
esac
echo "vm: booting Linux $version ($accel)"
timeout "${VM_TIMEOUT:-1800}" "${qemu[@]}" "${machine[@]}" -accel "$accel" -smp 1 -m 768 -nographic -no-reboot -net none \
    -nodefaults -serial stdio -monitor none -kernel "unpacked/boot/vmlinuz-$version" -initrd initrd.gz \
    -append "console=$console quiet loglevel=1 panic=-1 mitigations=off" \
    </dev/null >"../console-$arch.log" 2>&1 || echo "vm: qemu ended with $?" >&2

python3 "$here/judge.py" "../console-$arch.log" | tee result.txt
last=$(tail -n 1 result.txt)
if [ -n "$record" ]; then
    suffix=
    [ "$arch" = x86_64 ] || suffix=-$arch
    {
        echo "# Last run of tests/vm/run.sh $arch"
        echo
        echo "$(date -u +%Y-%m-%d), commit $(git -C "$root" rev-parse --short HEAD), Linux $version in qemu ($accel)."
        echo
        echo '```'
        cat result.txt
        echo '```'
    } >"$here/RESULT$suffix.md"
fi
case $last in *" 0 failed"*) ;; *) exit 1 ;; esac
