#!/bin/sh
# The test command: sets up what is missing and runs every test of the default build, references included.
# Without Python the comparisons with OpenCV and onnxruntime are skipped, and say so.
set -eu

cd "$(dirname "$0")/.."
sh cross/setup.sh
if EDGE_RCNN_PYTHON=$(sh cross/python.sh target/python); then
    export EDGE_RCNN_PYTHON
else
    echo "run.sh: no Python environment; comparisons with other engines will be skipped" >&2
fi
exec cargo test --release "$@"
