#!/bin/sh
# Everything a change has to pass: format, lints, documentation, all tests, those of the trainer, for which it downloads
# PyTorch (about 5 GB unpacked), and those of the kernels on emulated ARM processors (Debian's compiler and emulator,
# about 1 GB unpacked).
set -eu

cd "$(dirname "$0")/.."
sh cross/setup.sh
EDGE_RCNN_PYTHON=$(sh cross/python.sh target/python --torch)
export EDGE_RCNN_PYTHON
. cross/libtorch.sh

cargo fmt --check
cargo clippy --release --all-targets --features train,cuda -- -D warnings
RUSTDOCFLAGS="-D warnings" cargo doc --release --no-deps --features train,cuda
# One set of features for everything: another one would build the graph engine a second time.
sh tests/run.sh --features train,cuda
sh tests/inlined.sh "${CARGO_TARGET_DIR:-target}/release/edge-rcnn"
bash cross/emulate.sh --short aarch64
