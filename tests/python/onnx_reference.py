"""Runs the ONNX files of bundles in onnxruntime and compares with what our runtime made of the same inputs.

    python tests/python/onnx_reference.py CASE...        # versions: tests/python/requirements.txt

`cargo test --release --test onnx_reference -- --ignored` writes the cases and calls this. A case is a folder with
`trunk.onnx` and `head.onnx`, raw little-endian f32 files, and `case.json`: runs of `model`, `input` and `outputs`, each
tensor with `name`, `file` and `shape`. Prints one line for each output; exit code 1 if one is off by more than 1e-4 of
the largest value.

A run with `int8` is of a QDQ model. onnxruntime runs it in two ways: literally, node by node in f32, and by default on
integer kernels of its own. `exactly`: all scales are powers of two, so that f32 holds every number, and the outputs must
agree as those of other models. `nearly`: a sum between two steps is rounded to one or the other by an error of 1e-7, and
later layers carry that on; so outputs are compared as wholes, by the root of the mean squared error, within 1e-2 of the
root mean square.
"""

import json
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime

ALLOWED = {None: 1e-4, "exactly": 1e-4, "nearly": 1e-2}


def load(folder, tensor):
    return np.fromfile(folder / tensor["file"], dtype="<f4").reshape(tensor["shape"])


def run_model(model, run, names, inputs, sessions):
    """The outputs, and for QDQ models those of both ways onnxruntime has."""
    options = onnxruntime.SessionOptions()
    # Without VNNI, onnxruntime's integer kernels saturate sums of two products at 16 bits unless told not to.
    options.add_session_config_entry("session.x64quantprecision", "1")
    levels = onnxruntime.GraphOptimizationLevel
    ways = {"": levels.ORT_ENABLE_ALL}
    if run.get("int8"):
        ways = {" literally": levels.ORT_DISABLE_ALL, " on integers": levels.ORT_ENABLE_ALL}
    for way, level in ways.items():
        if (model, way) not in sessions:
            onnx.checker.check_model(model, full_check=True)
            options.graph_optimization_level = level
            sessions[model, way] = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        yield way, sessions[model, way].run(names, inputs)


def error_of(got, want, int8):
    if int8 == "nearly":
        return float(np.sqrt(((got - want) ** 2).mean() / (want**2).mean()))
    return float(np.abs(got - want).max() / np.abs(want).max())


def compare(folder):
    """The worst error, in units of what is allowed."""
    worst = 0.0
    sessions = {}
    for run in json.loads((folder / "case.json").read_text()):
        model = str(folder / run["model"])
        names = [o["name"] for o in run["outputs"]]
        inputs = {run["input"]["name"]: load(folder, run["input"])}
        for way, results in run_model(model, run, names, inputs, sessions):
            allowed = ALLOWED[run.get("int8")]
            for tensor, want in zip(run["outputs"], results):
                got = load(folder, tensor)
                where = f"{folder.name} {run['model']} {tensor['name']}"
                if got.shape != want.shape:
                    print(f"{where}: shape {got.shape}, onnxruntime {want.shape}")
                    return np.inf
                error = error_of(got, want, run.get("int8"))
                worst = max(worst, error / allowed)
                size = "×".join(str(n) for n in run["input"]["shape"])
                print(f"{where} of {size}{way}: relative error {error:.1e}, allowed {allowed:.0e}")
    return worst


def main():
    worst = max(compare(Path(folder)) for folder in sys.argv[1:])
    print(f"worst error: {worst:.2f} of what is allowed")
    return 0 if worst <= 1 else 1


if __name__ == "__main__":
    sys.exit(main())
