# Sourced by bash after setting `arch` (x86_64 or aarch64): what run.sh and service.sh boot. A Debian kernel, tools and, where
# it is missing, qemu are downloaded as packages and unpacked under target/vm, where this leaves the shell; nothing is
# installed.

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
work=$root/target/vm
dir=$work
. "$root/cross/apt.sh"
. "$root/cross/target.sh"
# What runs on this machine is built as anywhere else: those flags would be taken without --target, too.
[ "$arch" != "$(uname -m)" ] || unset "CARGO_TARGET_${upper}_RUSTFLAGS"
machines=$work/$debian
mkdir -p "$machines"
cd "$machines"

if [ ! -e unpacked/done ]; then
    update "$debian"
    rm -rf unpacked
    kernel=$(kernel_package "$debian")
    unpack "$debian" "$PWD/unpacked" "$kernel" busybox-static v4l-utils libv4l-0 libv4lconvert0 libv4l2rds0 libjpeg62-turbo \
        libc6 libgcc-s1 libstdc++6 libudev1
    touch unpacked/done
fi
case $arch in
x86_64) system=qemu-system-x86_64 package=qemu-system-x86 loader=ld-linux-x86-64.so.2 ;;
aarch64) system=qemu-system-aarch64 package=qemu-system-arm loader=ld-linux-aarch64.so.1 ;;
*) echo "vm: x86_64 or aarch64" >&2 && exit 2 ;;
esac
qemu=($system)
if ! command -v $system >/dev/null; then
    if [ ! -e qemu/done ]; then
        rm -rf qemu
        ours=$(dpkg --print-architecture)
        update "$ours"
        # Everything that installing it would bring beside what is installed, by our lists: the machine's own may be empty. Tools
        # of another qemu that are there do not matter.
        awk 'BEGIN { RS = ""; ORS = "\n\n" } !/^Package: qemu-/' /var/lib/dpkg/status >"$work/apt/$ours/installed"
        needed=$(apt_of "$ours" apt-get install -s --no-install-recommends -o Dir::State::Status="$work/apt/$ours/installed" \
            $package 2>>"$work/apt/$ours/log" | awk '/^Inst/ { print $2 }') || needed=
        if [ -z "$needed" ]; then
            echo "vm: apt cannot get $package ($work/apt/$ours/log):" >&2
            tail -n 5 "$work/apt/$ours/log" >&2
            exit 1
        fi
        # shellcheck disable=SC2086 # a list
        unpack "$ours" "$PWD/qemu" $needed
        touch qemu/done
    fi
    libs=$PWD/qemu/usr/lib/x86_64-linux-gnu:$PWD/qemu/lib/x86_64-linux-gnu
    qemu=(env "LD_LIBRARY_PATH=$libs" qemu/usr/bin/$system -L qemu/usr/share/qemu -L qemu/usr/share/seabios -L qemu/usr/lib/ipxe/qemu)
fi
# Programs of the machine's processor run here in this.
emulator=
if [ "$arch" != "$(uname -m)" ]; then
    "$root/cross/toolchain.sh" "$toolchain" qemu
    emulator=$toolchain/bin/qemu-$arch-static
fi
version=$(ls unpacked/lib/modules)
accel=tcg
[ "$arch" != "$(uname -m)" ] || accel=${VM_ACCEL:-tcg}

# A first file system in the folder guest: busybox, the init given, and modules of the kernel in the order of loading:
# furnish INIT MODULE…
furnish() {
    local name line module file
    rm -rf guest
    mkdir -p guest/bin guest/mods guest/proc guest/sys guest/dev guest/tmp
    cp unpacked/bin/busybox guest/bin/
    install -m 755 "$1" guest/init
    shift
    $emulator unpacked/bin/busybox depmod -b unpacked "$version"
    : >guest/mods/order
    for name; do
        line=$(grep "/$name\.ko:" "unpacked/lib/modules/$version/modules.dep")
        # What a module needs comes after the colon, the deepest last.
        for module in $(echo "${line#*:}" | tr ' ' '\n' | tac) "${line%%:*}"; do
            file=$(basename "$module")
            grep -qx "$file" guest/mods/order && continue
            cp "unpacked/lib/modules/$version/$module" guest/mods/
            echo "$file" >>guest/mods/order
        done
    done
}

# A network for which an emulated processor is fast enough, in ../model. The folder of programs is asked for the one that
# makes it: small_network FOLDER
small_network() {
    [ ! -e ../model/model.toml ] || return 0
    [ -x "$1/examples/tiny_bundle" ] || (cd "$root" && sh cross/setup.sh && cargo build --release --example tiny_bundle)
    $emulator "$1/examples/tiny_bundle" ../model
}

# Boots it; the console goes to the file given: boot CONSOLE QEMU-OPTION…
boot() {
    local machine console log=$1
    shift
    case $arch in
    x86_64) machine=(-M q35 -cpu max) console="ttyS0 tsc=reliable no_timer_check" ;;
    aarch64) machine=(-M virt -cpu cortex-a72) console=ttyAMA0 ;;
    esac
    (cd guest && find . | $emulator ../unpacked/bin/busybox cpio -o -H newc 2>/dev/null | gzip -1) >initrd.gz
    echo "vm: booting Linux $version ($accel)"
    timeout "${VM_TIMEOUT:-1800}" "${qemu[@]}" "${machine[@]}" -accel "$accel" -smp 1 -m 768 -nographic -no-reboot -net none \
        -nodefaults -serial stdio -monitor none -kernel "unpacked/boot/vmlinuz-$version" -initrd initrd.gz \
        -append "console=$console quiet loglevel=1 panic=-1 mitigations=off" "$@" \
        </dev/null >"$log" 2>&1 || echo "vm: qemu ended with $?" >&2
}

# Writes a result with date and commit: record FILE COMMAND RESULT
record() {
    {
        echo "# Last run of $2"
        echo
        echo "$(date -u +%Y-%m-%d), commit $(git -C "$root" rev-parse --short HEAD), Linux $version in qemu ($accel)."
        echo
        echo '```'
        cat "$3"
        echo '```'
    } >"$here/$1"
}
