#!/bin/bash
# Predicts on paper what boards that are not here would do, and checks the method on processors that are or were:
#
#   cross/estimate/run.sh [PROGRAM]         cross/estimate/RESULT.md is what it prints, on standard output
#
# Compiles the kernels for ARM and for this machine, asks llvm-mca how many cycles their innermost loops take, and adds up
# the layers. PROGRAM is an edge-rcnn that is measured here first, on one thread (target/release/edge-rcnn; nothing else
# should be running); without, the measurements kept beside this script are taken. That needs an AMD Zen 4 or 5.
set -euo pipefail

cd "$(dirname "$0")/../.."
here=cross/estimate work=$PWD/target/estimate
mkdir -p "$work"
command -v python3 >/dev/null || { echo "run.sh: needs python3 (Debian package python3)" >&2; exit 1; }

measure() {
    local family precision scale size regions
    family=$(sed -n 's/^cpu family\s*: //p' /proc/cpuinfo | head -n 1)
    # Family 25 is Zen 3, too, which has no AVX-512.
    case $family-$(grep -om 1 avx512_vnni /proc/cpuinfo) in
    25-avx512_vnni | 26-avx512_vnni) ;;
    *) echo "run.sh: this machine is no AMD Zen 4 or 5" >&2; return 1 ;;
    esac
    for precision in int8 f32; do
        while read -r scale size regions; do
            "$1" bench --quiet --json --threads 1 --frames 8 --precision $precision --scale "$scale" --size "$size" \
                --proposals "$regions" | sed "s/^{/{\"family\":$family,/"
        done <<'END'
600 1000x600 300
402 536x402 100
240 320x240 51
END
    done >"$work/measured.jsonl"
    mv "$work/measured.jsonl" "$here/zen$((family - 21)).jsonl"
}
[ $# = 0 ] || measure "$1"

# tests TARGET…: the program of the kernels' tests, which has all of their loops.
tests() {
    CARGO_TARGET_DIR=$PWD/target/kernels cargo test --locked --manifest-path cross/kernels/Cargo.toml --lib --no-run \
        --message-format json "$@" | sed -n 's/.*"test":true.*"executable":"\([^"]*\)".*/\1/p'
}
sh cross/setup.sh --cross aarch64 >&2
native=$(tests)
arm=$(
    arch=aarch64
    . cross/target.sh
    [ "${RUSTC:-}" != "$toolchain/rustc" ] || cross/toolchain.sh "$toolchain" $arch >&2
    tests --target "$target"
)
toolchain=${EDGE_RCNN_TOOLCHAIN:-$PWD/target/toolchain}
cross/toolchain.sh "$toolchain" mca >&2
mca=$toolchain/bin/llvm-mca
python3 $here/loops.py aarch64-linux-gnu-objdump "$mca" "$arm" cortex-a53 cortex-a72 neoverse-n1 >"$work/arm.json"
python3 $here/loops.py objdump "$mca" "$native" znver4 >"$work/x86.json"

cat $here/about.md
echo "Made $(date -u +%Y-%m-%d) by \`cross/estimate/run.sh\` at commit $(git describe --always --dirty=+), llvm-mca" \
    "$("$mca" --version | sed -n 's/.*LLVM version //p')."
echo
python3 $here/predict.py "$work/arm.json" "$work/x86.json" $here/zen*.jsonl
