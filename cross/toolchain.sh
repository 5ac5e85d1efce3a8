#!/bin/bash
# Unpacks, without installing anything, a Rust of Debian's that knows ARM, and what tests ARM programs on this machine:
#
#   cross/toolchain.sh DIR PART...
#
#   aarch64, armv7   the compiler and the standard library of that target (DIR/rustc, DIR/rustdoc)
#   qemu             emulators of foreign programs (DIR/bin/qemu-*-static)
#   mca              llvm-mca (DIR/bin/llvm-mca), which counts cycles of loops
#
# For Debian 12 and 13 on x86-64 where Rust has no targets to add, or where nothing may be added. With rustup none of this
# is needed. apt keeps its lists and its downloads in DIR; what is there already is kept. The linkers
# and C libraries are ordinary packages: cross/setup.sh --cross TARGET.
set -euo pipefail

[ $# -ge 2 ] || { sed -n '2,12s/^# \{0,1\}//p' "$0" >&2; exit 2; }
mkdir -p "$1"
dir=$(readlink -f "$1")
shift
. "$(dirname "$0")/apt.sh"

# Runs a program of the unpacked root with the libraries unpacked beside it.
wrapper() {
    mkdir -p "$(dirname "$dir/$1")"
    cat >"$dir/$1" <<END
#!/bin/sh
usr=$dir/root/usr
LD_LIBRARY_PATH=\$usr/lib/x86_64-linux-gnu\${LD_LIBRARY_PATH:+:\$LD_LIBRARY_PATH} exec \$usr/$2 ${3:-} "\$@"
END
    chmod +x "$dir/$1"
}

compiler() {
    [ ! -x "$dir/rustc" ] || return 0
    update amd64
    local version upstream llvm
    version=$(versions amd64 rustc-web | head -n 1)
    [ -n "$version" ] || { echo "toolchain: no package rustc-web in $VERSION_CODENAME ($dir/apt/amd64/log)" >&2; exit 1; }
    upstream=${version%%+*}
    llvm=$(apt_of amd64 apt-cache show "libstd-rust-web-${upstream%.*}" | sed -n 's/^Depends:.*\(libllvm[0-9]*\).*/\1/p' | head -n 1)
    unpack amd64 "$dir/root" "rustc-web=$version" "libstd-rust-web-dev=$version" "libstd-rust-web-${upstream%.*}=$version" "$llvm"
    echo "$upstream" >"$dir/version"
    wrapper rustc bin/rustc "--sysroot \$usr"
    wrapper rustdoc bin/rustdoc "--sysroot \$usr"
}

# The standard library of a target has to be of the compiler's very release. Debian builds the same one for its older and
# for its newer release, and where a list of one cannot be fetched the other's serves as well: it never runs here.
library() {
    local arch=$1 target=$2 want version=
    [ ! -d "$dir/root/usr/lib/rustlib/$target" ] || return 0
    compiler
    update "$arch"
    want=$(cat "$dir/version")
    for release in "" trixie bookworm; do
        [ -z "$release" ] || also "$arch" "$release"
        version=$(versions "$arch" libstd-rust-web-dev | grep -m 1 "^${want//./\\.}+" || true)
        [ -z "$version" ] || break
    done
    if [ -z "$version" ]; then
        echo "toolchain: no libstd-rust-web-dev $want for $arch ($dir/apt/$arch/log); if Debian has a newer one, remove $dir" >&2
        grep -m 2 '^\(E\|W\|Err\):' "$dir/apt/$arch/log" >&2 || true
        exit 1
    fi
    unpack "$arch" "$dir/root" "libstd-rust-web-dev=$version"
}

for part; do
    case $part in
    aarch64) library arm64 aarch64-unknown-linux-gnu ;;
    armv7) library armhf armv7-unknown-linux-gnueabihf ;;
    qemu)
        # Version 10: older ones show programs the processor of the host.
        [ ! -e "$dir/bin/qemu-arm-static" ] || continue
        update amd64
        version=$(versions amd64 qemu-user | head -n 1)
        dpkg --compare-versions "${version#*:}" ge 10 || { echo "toolchain: qemu-user is $version, older than 10" >&2; exit 1; }
        unpack amd64 "$dir/root" "qemu-user=$version"
        mkdir -p "$dir/bin"
        for arch in aarch64 arm x86_64; do
            ln -sf "../root/usr/bin/qemu-$arch" "$dir/bin/qemu-$arch-static"
        done
        find "$dir/root/usr/bin" -name 'qemu-*' ! -name qemu-aarch64 ! -name qemu-arm ! -name qemu-x86_64 -delete
        ;;
    mca)
        [ ! -x "$dir/bin/llvm-mca" ] || continue
        compiler
        llvm=$(find "$dir/root/usr/lib/x86_64-linux-gnu" -name 'libLLVM*.so*' | sed -n 's/.*libLLVM[-.a-z]*\([0-9]*\).*/\1/p' | head -n 1)
        unpack amd64 "$dir/root" "llvm-$llvm"
        wrapper bin/llvm-mca "lib/llvm-$llvm/bin/llvm-mca"
        ;;
    *)
        echo "toolchain: what is $part? aarch64, armv7, qemu, mca" >&2
        exit 2
        ;;
    esac
done
