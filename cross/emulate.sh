#!/bin/bash
# Runs the kernels on processors that are not here, under qemu-user (10 or newer):
#
#   cross/emulate.sh [--short] [TARGET…]        TARGET: aarch64, armv7, x86_64; all of them unless named
#
# For each processor below: the tests of kernels, boxes, proposals and of what of the head has no weights, golden files
# included (cross/kernels, which compiles them without the graph engine). An instruction that a processor has not ends its
# emulation, so a wrong choice shows. Integer kernels are compared bit for bit, by a digest in their tests. --short takes
# the processors that differ in kernels only. The last line counts; the exit code is 1 if anything failed.
set -euo pipefail

short=
[ "${1:-}" != --short ] || { short=yes; shift; }
targets=${*:-aarch64 armv7 x86_64}
cd "$(dirname "$0")/.."
work=$PWD/target/emulate
mkdir -p "$work"
: >"$work/results"
say() { echo "$*" | tee -a "$work/results"; }

# tested CPU: the test programs of this target on one processor.
tested() {
    local cpu=$1 file name log
    while read -r file; do
        name=$(basename "${file%-*}")
        log=$work/$cpu-$name.log
        if (cd cross/kernels && "$qemu" -cpu "$cpu" "$file") >"$log" 2>&1; then
            say "ok   $arch $cpu: $name, $(sed -n 's/^test result: ok. \([0-9]*\) passed.*/\1/p' "$log") tests"
        else
            say "FAIL $arch $cpu: $name, see $log"
        fi
    done <"$work/$arch.tests"
}

emulate() {
    . cross/target.sh
    case $arch in
    aarch64) cpus=(cortex-a53 cortex-a76 cortex-a72 max) ;;
    armv7) cpus=(cortex-a7) ;;
    x86_64) cpus=(Nehalem) ;;
    esac
    [ -z "$short" ] || cpus=("${cpus[@]:0:2}")
    sh cross/setup.sh --cross "$arch" || return
    cross/toolchain.sh "$toolchain" qemu || return
    [ -z "${RUSTC:-}" ] || cross/toolchain.sh "$toolchain" "$arch" || return
    qemu=$toolchain/bin/qemu-${arch%v7}-static

    CARGO_TARGET_DIR=$PWD/target/kernels cargo test --locked --manifest-path cross/kernels/Cargo.toml --target "$target" \
        --no-run --message-format json >"$work/build.json" || return
    sed -n 's/.*"test":true.*"executable":"\([^"]*\)".*/\1/p' "$work/build.json" >"$work/$arch.tests"
    [ -s "$work/$arch.tests" ] || return
    for cpu in "${cpus[@]}"; do
        tested "$cpu"
    done
}

# Each in a shell of its own; there a failing command does not end it, hence `|| return`.
for arch in $targets; do
    (emulate) || say "FAIL $arch: cannot be built"
done
failed=$(grep -c '^FAIL' "$work/results" || true)
echo "emulate: $(grep -c '^ok' "$work/results" || true) checks passed, $failed failed"
[ "$failed" = 0 ]
