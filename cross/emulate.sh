#!/bin/bash
# Runs the kernels, or the program, on processors that are not here, under qemu-user (10 or newer):
#
#   cross/emulate.sh [--short] [--program] [TARGET…]        TARGET: aarch64, armv7, x86_64, avx512; the first three unless named
#
# For each processor below: the tests of kernels, boxes, proposals and of what of the head has no weights, golden files
# included (cross/kernels, which compiles them without the graph engine). An instruction that a processor has not ends its
# emulation, so a wrong choice shows. Integer kernels are compared bit for bit, by a digest in their tests. --short takes
# the processors that differ in kernels only. avx512 is an x86-64 processor with VNNI, on a whole emulated machine
# (cross/bochs.sh), and only those tests for which that takes a minute: integers, and real numbers without much to multiply.
#
# With --program it is the whole program instead, as cross/build.sh makes it: its version, what it says of its model, its
# choice of kernels, and the objects that it finds on tests/photos, which are those that a program built the same way finds
# on this machine. In 8 bits every digit is the same. The last line counts; the exit code is 1 if anything failed.
set -euo pipefail

short= program=
while :; do
    case ${1:-} in
    --short) short=yes ;;
    --program) program=yes ;;
    *) break ;;
    esac
    shift
done
targets=${*:-aarch64 armv7 x86_64}
cd "$(dirname "$0")/.."
# Compares what is found; after an hour of emulation is too late to miss it.
if [ -n "$program" ] && ! command -v python3 >/dev/null; then
    echo "emulate: --program needs python3 (Debian package python3)" >&2
    exit 1
fi
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

# Kernels that a processor is to choose, of real numbers and of integers.
chosen() {
    case $arch-$1 in
    aarch64-cortex-a53 | aarch64-cortex-a72) echo neon int8-neon ;;
    aarch64-*) echo neon int8-neon-dot ;;
    *) echo scalar int8-scalar ;;
    esac
}

# Small frames: emulation computes a hundredth of what the machine does.
seen() {
    local precision=$1
    shift
    "$@" -v detect tests/photos --precision "$precision" --threads 1 --scale 128 --proposals 20 --min-score 0.2
}

# found PRECISION KERNELS: the objects on the photographs on one processor, and the kernels that it chose.
found() {
    local log=$work/$cpu-$1 said
    seen "$1" "$qemu" -cpu "$cpu" "$foreign" >"$log.jsonl" 2>"$log.log" || return
    grep -qx "debug: kernels: $2" "$log.log" || { grep 'kernels:' "$log.log"; return 1; }
    said=$(python3 cross/same_detections.py "$1" "$work/here-$1.jsonl" "$log.jsonl") || { echo "$said"; return 1; }
    echo "$2, $said"
}
same_version() { [ "$("$qemu" -cpu "$cpu" "$foreign" --version)" = "$("$here" --version)" ] && "$here" --version; }
same_info() { "$qemu" -cpu "$cpu" "$foreign" info >"$work/$cpu-info" && diff "$work/here-info" "$work/$cpu-info" && echo "same as here"; }
checked() {
    local what=$1 said
    shift
    if said=$("$@" 2>"$work/error"); then say "ok   $arch $cpu: $what: $said"; else
        say "FAIL $arch $cpu: $what: $said $(tail -n 2 "$work/error")"
    fi
}

# looked CPU: the program on one processor.
looked() {
    local cpu=$1 real integer
    read -r real integer < <(chosen "$cpu")
    checked version same_version
    checked info same_info
    checked "in 8 bits" found int8 "$integer"
    checked "in f32" found f32 "$real"
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
    qemu=$toolchain/bin/qemu-${arch%v7}-static
    if [ -n "$program" ]; then
        cross/build.sh "$arch" || return
        foreign=${CARGO_TARGET_DIR:-$PWD/target}/$target/dist/edge-rcnn
        for cpu in "${cpus[@]}"; do
            looked "$cpu"
        done
        return
    fi

    [ "${RUSTC:-}" != "$toolchain/rustc" ] || cross/toolchain.sh "$toolchain" "$arch" || return
    CARGO_TARGET_DIR=$PWD/target/kernels cargo test --locked --manifest-path cross/kernels/Cargo.toml --target "$target" \
        --no-run --message-format json >"$work/build.json" || return
    sed -n 's/.*"test":true.*"executable":"\([^"]*\)".*/\1/p' "$work/build.json" >"$work/$arch.tests"
    [ -s "$work/$arch.tests" ] || return
    # All at the same time: emulation is slow, and machines have cores.
    for cpu in "${cpus[@]}"; do
        tested "$cpu" &
    done
    wait
}

# The kernels' own tests, as cargo builds them for this machine.
emulate_avx512() {
    local file log=$work/avx512.log
    arch=avx512
    file=$(cd cross/kernels && CARGO_TARGET_DIR=$work/../kernels cargo test --locked --lib --no-run --message-format json |
        sed -n 's/.*"test":true.*"executable":"\([^"]*\)".*/\1/p') && [ -n "$file" ] || return
    # Multiplying real numbers takes hours, and threads that wait for each other on one core nearly as long.
    if cross/bochs.sh "$file" --test-threads=1 --skip conv::tests::every --skip conv::tests::scalar --skip conv::tests::the_number \
        --skip conv::tests::pooling --skip team:: --skip boxes:: --skip proposals:: >"$log"; then
        say "ok   $arch skylake-x with vnni, avx-vnni: $(sed -n 's/^test result: ok. \([0-9]*\) passed.*/\1/p' "$log") tests"
    else
        say "FAIL $arch: see $log"
    fi
}

if [ -n "$program" ]; then
    native=$(uname -m)
    cross/build.sh "$native"
    here=${CARGO_TARGET_DIR:-$PWD/target}/$native-unknown-linux-gnu/dist/edge-rcnn
    "$here" info >"$work/here-info"
    for precision in int8 f32; do
        seen $precision "$here" >"$work/here-$precision.jsonl" 2>"$work/here-$precision.log"
    done
fi
# Each in a shell of its own; there a failing command does not end it, hence `|| return`.
for arch in $targets; do
    emulate=emulate
    [ "$arch" != avx512 ] || emulate=emulate_avx512
    ($emulate) || say "FAIL $arch: cannot be built"
done
failed=$(grep -c '^FAIL' "$work/results" || true)
echo "emulate: $(grep -c '^ok' "$work/results" || true) checks passed, $failed failed"
[ "$failed" = 0 ]
