#!/bin/bash
# Runs a program on an emulated x86-64 processor with AVX-512, its VNNI, and AVX-VNNI, none of which qemu has:
#
#   cross/bochs.sh PROGRAM [ARGUMENT…]
#
# Bochs emulates a whole machine, which boots Debian's kernel with nothing but the program. Its source, the kernel and what
# else is needed are Debian's packages, unpacked beside those of toolchain.sh and not installed; building Bochs takes two
# minutes, a C++ compiler and make. Prints what the program prints; its exit code is the program's.
#
# Real numbers take it a microsecond each, so this is for kernels of integers. BF16 is left out: Bochs 3.0 reads the wrong
# memory in `vdpbf16ps` with a displacement. AMX is left out: Linux refuses it on a processor without XFD.
set -euo pipefail

[ $# -ge 1 ] || { sed -n '2,4s/^# \{0,1\}//p' "$0" >&2; exit 2; }
program=$(readlink -f "$1")
shift
cd "$(dirname "$0")/.."
arch=x86_64
. cross/target.sh
dir=$toolchain
mkdir -p "$dir"
dir=$(readlink -f "$dir")
. cross/apt.sh
bochs=$dir/bochs

# The first release that has Bochs 3, and its source: apt lists neither unless asked.
fetch_source() {
    local list=$dir/apt/amd64/list line="deb-src [$signed] $main trixie main"
    if ! grep -qxF "$line" "$list"; then
        echo "$line" >>"$list"
        refresh amd64
    fi
    (cd "$bochs" && apt_of amd64 apt-get source --download-only --tar-only bochs >>"$dir/apt/amd64/log" 2>&1) ||
        { tail -n 5 "$dir/apt/amd64/log" >&2; exit 1; }
}

# Its own models of processors with VNNI do not get through Linux's start, as of 3.0. That of Skylake-X does, but does not
# show what is added to it.
build() {
    local skylake=cpu/cpudb/intel/corei7_skylake-x.cc
    rm -rf "$bochs/source"
    mkdir "$bochs/source"
    tar -xf "$bochs"/bochs_3*.orig.tar.xz -C "$bochs/source" --strip-components 1
    cd "$bochs/source"
    sed -i '/::get_std_cpuid_leaf_7(/,/^}/ {
        s|leaf->eax = 0; /\*.*|leaf->eax = 1;|
        s|leaf->eax = 0;$|leaf->eax = subfunction == 1 ? get_std_cpuid_leaf_7_subleaf_1_eax() : 0;|
        s|leaf->ecx = 0;|leaf->ecx = subfunction == 0 ? get_std_cpuid_leaf_7_ecx() : 0;|
    }' $skylake
    grep -q 'subfunction == 0 ? get' $skylake || { echo "bochs: this version is another one ($skylake)" >&2; exit 1; }
    ./configure --with-nogui --enable-x86-64 --enable-cpu-level=6 --enable-avx --enable-evex --enable-all-optimizations \
        --enable-long-phy-address --disable-docbook --disable-xpm >"$bochs/log" 2>&1 &&
        make -j "$(nproc)" >>"$bochs/log" 2>&1 || { tail -n 5 "$bochs/log" >&2; exit 1; }
}

mkdir -p "$bochs"
if [ ! -e "$bochs/done" ]; then
    for tool in c++ make; do
        command -v $tool >/dev/null || { echo "bochs: needs $tool (Debian package ${tool/c++/g++})" >&2; exit 1; }
    done
    update amd64
    kernel=$(kernel_package amd64)
    unpack amd64 "$bochs/root" "$kernel" busybox-static bochsbios vgabios isolinux syslinux-common genisoimage
    fetch_source
    (build)
    touch "$bochs/done"
fi

run=$(mktemp -d)
trap 'rm -rf "$run"' EXIT
mkdir -p "$run"/guest/{bin,lib64,proc,dev,tmp} "$run/disc"
usr=$bochs/root/usr
busybox=$bochs/root/bin/busybox
[ -e "$busybox" ] || busybox=$usr/bin/busybox
cp "$busybox" "$run/guest/bin/"
cp "$program" "$run/guest/program"
# The libraries it loads: a path each, after an arrow or alone.
ldd "$program" 2>/dev/null | grep -o '/[^ ]*' | xargs -r cp -Lt "$run/guest/lib64"
cat >"$run/guest/init" <<'END'
#!/bin/busybox sh
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t devtmpfs dev /dev
/bin/busybox stty -onlcr <>/dev/console
read -r arguments </arguments
echo "@@ begin"
LD_LIBRARY_PATH=/lib64 /program $arguments
echo "@@ code $?"
# What was written has to pass the serial line before the machine is off.
/bin/busybox sleep 1
/bin/busybox poweroff -f
END
chmod +x "$run/guest/init"
echo "$*" >"$run/guest/arguments"
(cd "$run/guest" && find . | "$busybox" cpio -o -H newc 2>/dev/null) | gzip -1 >"$run/disc/initrd.gz"
cp "$bochs"/root/boot/vmlinuz-* "$run/disc/linux"
cp "$usr/lib/ISOLINUX/isolinux.bin" "$usr/lib/syslinux/modules/bios/ldlinux.c32" "$run/disc/"
cat >"$run/disc/isolinux.cfg" <<'END'
default linux
label linux
kernel linux
append initrd=initrd.gz console=ttyS0 loglevel=1 panic=-1 mitigations=off nokaslr tsc=reliable lpj=1000000 lsm=yama random.trust_cpu=off
END
"$usr/bin/genisoimage" -quiet -b isolinux.bin -c boot.cat -no-emul-boot -boot-load-size 4 -boot-info-table -o "$run/disc.iso" "$run/disc"
cat >"$run/bochsrc" <<END
cpu: model=corei7_skylake_x, count=1, ips=100000000, ignore_bad_msrs=1, reset_on_triple_fault=0, add_features="avx512vnni,avx_vnni"
memory: guest=1024, host=1024
romimage: file=$usr/share/bochs/BIOS-bochs-latest
vgaromimage: file=$usr/share/vgabios/vgabios.bin
ata0-master: type=cdrom, path=$run/disc.iso, status=inserted
boot: cdrom
com1: enabled=1, mode=file, dev=$run/console
display_library: nogui
clock: sync=none
log: $run/log
panic: action=fatal
END
timeout "${BOCHS_TIMEOUT:-1800}" "$bochs/source/bochs" -q -f "$run/bochsrc" </dev/null >"$run/out" 2>&1 || true
sed '0,/^@@ begin/d; /^@@ code/,$d' "$run/console"
code=$(sed -n 's/^@@ code \([0-9]*\).*/\1/p' "$run/console")
[ -n "$code" ] || { echo "bochs: the machine did not come to its end" >&2; tail -n 5 "$run/log" "$run/console" >&2; exit 1; }
exit "$code"
