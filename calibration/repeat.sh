#!/bin/sh
# Makes the built-in model in 8 bits again: `sh calibration/repeat.sh VOC2007 [OUT]`. Takes less than ten minutes on one core.
#
# VOC2007 is a VOC devkit folder (Annotations, ImageSets, JPEGImages). Ranges are seen on the pictures of the list in this
# folder, accuracy is measured on the first 500 of `val`, which the model was not trained on. The model goes to OUT, by default
# models/zf-voc-int8; the ranges and the figures go into this folder. Fails, and writes no model, if more than 0.5 points
# of mAP are lost. Build the program again afterwards: it carries the model inside.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
voc=$(cd "${1:?the VOC 2007 folder}" && pwd)
out=${2:-"$here/../models/zf-voc-int8"}
cd "$here/.."
said=$(mktemp)
trap 'rm -f "$said"' EXIT
cargo run --release -- calibrate \
    --model models/zf-voc \
    --images calibration/voc2007-train-200.sha256 --root "$voc" \
    --score-on "voc:$voc" --score-split val --score-limit 500 \
    --method mse,min-max,percentile:99.99 --bias-correction --max-drop 0.5 \
    --write-ranges calibration/ranges.json \
    --json --out "$out" >"$said"
cat "$said"
# Where the model went is nobody's business.
tail -n 1 "$said" | sed 's/"out":"[^"]*",//' >calibration/figures.json
