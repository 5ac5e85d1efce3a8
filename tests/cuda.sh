#!/bin/sh
# Runs the CUDA tests and the bench on a machine with a GPU, in less than a minute. Needs neither a compiler nor a network there:
#
#     tests/cuda.sh PROGRAM TESTS
#
# PROGRAM is edge-rcnn, TESTS the test program of tests/cuda.rs. Both are made, and their places said, by
#
#     cargo test --release --features cuda --no-run --test cuda
#
# CUDA's libraries are those of the Python packages nvidia-* if EDGE_RCNN_PYTHON, or python3, has them, and what LD_LIBRARY_PATH
# names. All parts are run, whatever becomes of one; the exit code is that of the worst.
set -u

[ $# -eq 2 ] || { sed -n '2,12s/^# \{0,1\}//p' "$0" >&2; exit 2; }
program=$(realpath "$1") tests=$(realpath "$2")
cd "$(dirname "$0")/.." || exit 2
log=$(mktemp)
trap 'rm -f "$log"' EXIT
failed=0

folders=$("${EDGE_RCNN_PYTHON:-python3}" - <<'PYTHON' 2>/dev/null
import importlib.util
from pathlib import Path

spec = importlib.util.find_spec("nvidia")
roots = spec.submodule_search_locations if spec else []
print(":".join(str(lib) for root in roots for lib in sorted(Path(root).glob("*/lib"))))
PYTHON
)
# The last is where containers get the driver.
LD_LIBRARY_PATH=${folders:+$folders:}${LD_LIBRARY_PATH:+$LD_LIBRARY_PATH:}/usr/local/nvidia/lib64
export LD_LIBRARY_PATH

# Runs a command under a title; says it failed if it did.
part() {
    title=$1
    shift
    echo
    echo "=== $title"
    "$@" 2>&1
    code=$?
    [ "$code" -eq 0 ] || { echo "=== $title: FAILED ($code)"; failed=1; }
}

part "GPU" nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv,noheader
part "comparison with the processor" "$tests" --nocapture --test-threads=1 | tee "$log"
# The shell on the left of a pipe cannot say it to us, so its words are looked at.
if grep -q -e FAILED -e SKIPPED "$log"; then failed=1; fi
part "a picture" "$program" detect --model models/zf-voc --kernels cuda -v models/zf-voc/sample.jpg
for precision in f32 tf32; do
    part "bench, zf-plain, $precision" "$program" bench --model models/zf-voc --kernels cuda --precision "$precision" \
        --size 1000x600 --scale 600 --proposals 300 --frames 200 | tee "$log"
    if grep -q FAILED "$log"; then failed=1; fi
    awk '$1 == "frame" && $2 > 0 { printf "%.1f frames/s\n", 1000 / $2; exit }' "$log"
done
part "bench, zf-plain, processor" "$program" bench --model models/zf-voc --size 1000x600 --scale 600 --proposals 300 --frames 20
part "seeded zf and vgg16" "$tests" --ignored --nocapture --test-threads=1
echo
[ "$failed" -eq 0 ] && echo "cuda.sh: all parts passed" || echo "cuda.sh: FAILED"
exit "$failed"
