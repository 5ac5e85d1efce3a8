"""One engine, one part of the detector: prepares it, writes its outputs, then runs it whenever it is asked to.

    python worker.py ENGINE PART PRECISION BUNDLE INPUT OUT THREADS

A line of JSON says that all is ready; each line `run` on standard input is answered by a line with the milliseconds that one
run took. `examples/stopwatch.rs` and `rten/` speak the same words.
"""

import json
import pathlib
import sys
import time

import numpy as np

import files

WARM_UP = 3


class Part:
    """What is to be run: files, the input, and how."""

    def __init__(self, part, precision, bundle, data, threads):
        self.part, self.precision, self.threads = part, precision, threads
        self.bundle = pathlib.Path(bundle)
        self.manifest = files.manifest(self.bundle)
        self.input = files.input_of(part, data)

    def onnx(self, name=None):
        return files.onnx_file(self.bundle, name or self.part, self.precision)


def main():
    engine, part, precision, bundle, data, out, threads = sys.argv[1:]
    part = Part(part, precision, bundle, data, int(threads))
    run, version = __import__(f"engine_{engine}").prepare(part)
    for _ in range(WARM_UP - 1):
        run()
    files.write_outputs(pathlib.Path(out), run())
    print(json.dumps({"version": version}), flush=True)
    for line in sys.stdin:
        if line.strip() != "run":
            break
        start = time.perf_counter()
        run()
        print(f"{(time.perf_counter() - start) * 1e3:.4f}", flush=True)


if __name__ == "__main__":
    main()
