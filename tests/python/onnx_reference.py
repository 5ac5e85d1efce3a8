"""Runs the ONNX files of bundles in onnxruntime and compares with what our runtime made of the same inputs.

    python tests/python/onnx_reference.py CASE...        # versions: tests/python/requirements.txt

`cargo test --release --test onnx_reference -- --ignored` writes the cases and calls this. A case is a folder with
`trunk.onnx` and `head.onnx`, raw little-endian f32 files, and `case.json`: runs of `model`, `input` and `outputs`, each
tensor with `name`, `file` and `shape`. Prints one line for each output; exit code 1 if one is off by more than 1e-4 of
the largest value.
"""

import json
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime

TOLERANCE = 1e-4


def load(folder, tensor):
    return np.fromfile(folder / tensor["file"], dtype="<f4").reshape(tensor["shape"])


def compare(folder):
    worst = 0.0
    sessions = {}
    for run in json.loads((folder / "case.json").read_text()):
        model = str(folder / run["model"])
        if model not in sessions:
            onnx.checker.check_model(model, full_check=True)
            sessions[model] = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
        names = [o["name"] for o in run["outputs"]]
        results = sessions[model].run(names, {run["input"]["name"]: load(folder, run["input"])})
        for tensor, want in zip(run["outputs"], results):
            got = load(folder, tensor)
            if got.shape != want.shape:
                print(f"{folder.name} {run['model']} {tensor['name']}: shape {got.shape}, onnxruntime {want.shape}")
                return np.inf
            error = float(np.abs(got - want).max() / np.abs(want).max())
            worst = max(worst, error)
            size = "×".join(str(n) for n in run["input"]["shape"])
            print(f"{folder.name} {run['model']} {tensor['name']} of {size}: relative error {error:.1e}")
    return worst


def main():
    worst = max(compare(Path(folder)) for folder in sys.argv[1:])
    print(f"worst {worst:.1e}, allowed {TOLERANCE:.0e}")
    return 0 if worst <= TOLERANCE else 1


if __name__ == "__main__":
    sys.exit(main())
