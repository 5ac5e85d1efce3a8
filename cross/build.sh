#!/bin/bash
# Builds the program for devices and checks that they can start it: cross/build.sh aarch64|armv7|x86_64
#
# What comes out is stripped, needs no library, and lies in target/TARGET/dist/edge-rcnn; the last line says where, how
# large, and what was checked. On Debian all that is missing is fetched (cross/setup.sh, cross/toolchain.sh); elsewhere see
# cross/README.md.
set -euo pipefail

arch=${1:-}
. "$(dirname "$0")/target.sh"
cd "$root"
sh cross/setup.sh --cross "$arch"
[ "${RUSTC:-}" != "$toolchain/rustc" ] || cross/toolchain.sh "$toolchain" "$arch"
compiler=CARGO_TARGET_${upper}_LINKER
export EDGE_RCNN_LINKER=${!compiler:-gcc}
# For a linker that has none beside it (cross/linker.sh).
here=
[ "$arch" = "$(uname -m)" ] || here=$gnu-
export EDGE_RCNN_OBJCOPY=${OBJCOPY:-${here}objcopy}
# What `bench` says it was built of. A program that is not told would keep the checkout's path, to ask git there.
if [ -z "${EDGE_RCNN_COMMIT:-}" ] && [ -e .git ] && commit=$(git rev-parse --short=12 HEAD 2>/dev/null); then
    [ -z "$(git status --porcelain --untracked-files=no)" ] || commit=$commit+
    export EDGE_RCNN_COMMIT=$commit
fi
# Only for the program: cargo would build everything anew for another linker.
cargo rustc --locked --profile dist --target "$target" --bin edge-rcnn -- -C linker=cross/linker.sh

program=${CARGO_TARGET_DIR:-target}/$target/dist/edge-rcnn
failed() {
    echo "build: $program $*" >&2
    exit 1
}
# The oldest C library of the boards this is for: JetPack 5 (Ubuntu 20.04) and Debian 11 have 2.31.
floor=2.31
megabytes=40
elf=$(readelf -W -h -d -V "$program")
libraries=$(sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p' <<<"$elf")
for library in $libraries; do
    case $library in
    libc.so.6 | libm.so.6 | ld-linux*) ;;
    *) failed "needs $library, which is not part of the C library" ;;
    esac
done
newest=$(grep -o 'GLIBC_[0-9.]*' <<<"$elf" | sed 's/GLIBC_//' | sort -Vu | tail -n 1 || true)
if [ -n "$newest" ] && [ "$(printf '%s\n%s\n' "$newest" "$floor" | sort -V | tail -n 1)" != "$floor" ]; then
    failed "needs glibc $newest, more than $floor"
fi
case $arch in
aarch64) machine=AArch64 ;;
armv7) machine=ARM ;;
x86_64) machine=X86-64 ;;
esac
grep -q "Machine: .*$machine" <<<"$elf" || failed "is for another processor"
bytes=$(stat -c %s "$program")
# The built-in model is most of it.
[ "$bytes" -le $((megabytes * 1000000)) ] || failed "has $bytes bytes, more than $megabytes MB"
echo "$program: $bytes bytes, ${libraries:-no libraries}, glibc ${newest:-inside}"
