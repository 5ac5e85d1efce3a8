"""edge-rcnn and other engines in turns, on the same networks, inputs and threads.

    python peers.py prepare                                        # programs, networks, inputs: once
    python peers.py measure trunk-f32 trunk-int8 --threads 1 2     # adds to results/DATE.json
    python peers.py report                                         # results/DATE.md and plots, of the newest

Each engine is a process of its own that waits until it is told to run. A round is one run of each; rounds go on until the
time is up. A measurement fails if an engine's outputs do not agree with those of onnxruntime.
"""

import argparse
import datetime
import json
import pathlib
import platform
import random
import statistics
import subprocess
import sys
import time

import agree
import files
import report

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
WORK = ROOT / "target" / "peers"
RESULTS = HERE / "results"
PHOTO = ROOT / "tests" / "photos" / "astronaut.jpg"
OURS = "edge-rcnn"
BUILTIN = {"f32": ROOT / "models" / "zf-voc", "bf16": ROOT / "models" / "zf-voc", "int8": ROOT / "models" / "zf-voc-int8"}

# What is measured: part, precision, and the engines beside ours that can do it. onnxruntime comes first: it is the reference.
PARTS = {
    "trunk-f32": ("trunk", "f32", ["onnxruntime", "openvino", "ncnn", "torch", "opencv", "rten", "tract"]),
    "trunk-bf16": ("trunk", "bf16", ["openvino", "ncnn", "torch"]),
    "trunk-int8": ("trunk", "int8", ["onnxruntime", "openvino", "rten"]),
    "head-f32": ("head", "f32", ["onnxruntime", "openvino", "ncnn", "torch", "opencv", "rten", "tract"]),
    "head-bf16": ("head", "bf16", ["openvino", "torch"]),
    "head-int8": ("head", "int8", ["onnxruntime", "openvino", "rten"]),
    "frame-f32": ("frame", "f32", ["onnxruntime", "openvino", "torch", "opencv"]),
    "frame-bf16": ("frame", "bf16", ["openvino", "torch"]),
    "frame-int8": ("frame", "int8", ["onnxruntime", "openvino"]),
}
NETWORKS = {"trunk": ["zf", "zf-plain"], "head": ["zf-plain"], "frame": ["zf-voc"]}
# Breath between two engines, for threads that spin a while after their work.
PAUSE = 0.03


def prepare():
    run = lambda *command: subprocess.run(command, check=True, cwd=ROOT)
    run("cargo", "build", "--release", "--example", "stopwatch", "--example", "seeded_bundles")
    run("cargo", "build", "--release", "--manifest-path", str(HERE / "rten" / "Cargo.toml"),
        "--target-dir", str(WORK / "rten"))
    run(str(ROOT / "target/release/examples/seeded_bundles"), str(PHOTO), str(WORK))
    make_inputs()


def make_inputs():
    import cv2
    import numpy as np

    mean = np.array([102.9801, 115.9465, 122.7717], np.float32)
    photo = cv2.imread(str(PHOTO))
    height = photo.shape[1] * files.HEIGHT // files.WIDTH
    picture = cv2.resize(photo[:height], (files.WIDTH, files.HEIGHT), interpolation=cv2.INTER_LINEAR)
    cv2.imwrite(str(WORK / "frame.png"), picture)
    (picture - mean).transpose(2, 0, 1).astype(np.float32).tofile(WORK / "trunk.f32")
    pooled = np.abs(np.random.default_rng(1).standard_normal((files.ROIS, files.POOLED), np.float32))
    pooled.tofile(WORK / "head.f32")


class Engine:
    """A process that answers `run` with milliseconds."""

    def __init__(self, name, label, command):
        self.name, self.out, self.times = name, WORK / "out" / f"{label}-{name}", []
        arguments = [str(self.out) if a == "OUT" else str(a) for a in command]
        self.process = self.about = None
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": open(WORK / f"{name}.log", "w")}
        if pathlib.Path(arguments[0]).exists():
            self.process = subprocess.Popen(arguments, cwd=HERE, text=True, **pipes)

    def ready(self):
        """Waits until it is."""
        line = self.process and self.process.stdout.readline()
        if line:
            self.about = json.loads(line)
        else:
            print(f"  {self.name}: does not run, see target/peers/{self.name}.log", file=sys.stderr)
        return bool(line)

    def run(self):
        self.process.stdin.write("run\n")
        self.process.stdin.flush()
        self.times.append(float(self.process.stdout.readline()))

    def stop(self):
        self.process.stdin.close()
        self.process.wait()


def command(engine, part, precision, network, threads):
    bundle = BUILTIN[precision] if part == "frame" else WORK / (f"{network}-int8" if precision == "int8" else network)
    data = WORK / f"{'head' if part == 'head' else 'trunk'}.f32"
    stopwatch = ROOT / "target/release/examples/stopwatch"
    if engine.startswith(OURS):
        picture = WORK / "frame.png" if part == "frame" else data
        more = ["bf16"] if precision == "bf16" else []
        return [stopwatch, OURS, part, bundle, picture, "OUT", threads, *more]
    if engine == "tract":
        return [stopwatch, engine, part, bundle, data, "OUT", threads]
    if engine == "rten":
        shape = f"{files.ROIS}x{files.POOLED}" if part == "head" else f"1x3x{files.HEIGHT}x{files.WIDTH}"
        onnx = files.saved_by_onnx(files.onnx_file(bundle, part, precision))
        return [WORK / "rten/release/peer-rten", onnx, data, shape, "OUT", threads]
    return [sys.executable, "worker.py", engine, part, precision, bundle, data, "OUT", threads]


def measure(name, network, threads, seconds, least, without):
    """One part, all its engines in turns."""
    part, precision, peers = PARTS[name]
    names = [OURS, *(p for p in peers if p not in without)]
    if precision == "bf16":
        # The reference, as an engine that is not measured.
        names.append("onnxruntime")
    label = f"{name}-{network}-{threads}"
    engines = []
    for engine in names:
        as_f32 = precision == "bf16" and engine == "onnxruntime"
        started = Engine(engine, label, command(engine, part, "f32" if as_f32 else precision, network, threads))
        # One after another: starting is measured by nobody, but takes all cores.
        if started.ready():
            engines.append(started)
    reference = next(e for e in engines if e.name == "onnxruntime")
    if precision == "bf16":
        engines.remove(reference)
        reference.stop()
    agreement = {e.name: agree.compare(part, precision, reference.out, e.out, e.name == OURS) for e in engines}
    end = time.monotonic() + seconds
    # In another order each time: who always came after a long turn of both cores would find slower ones.
    order, shuffle = engines[:], random.Random(1).shuffle
    while time.monotonic() < end or len(engines[0].times) < least:
        shuffle(order)
        for engine in order:
            time.sleep(PAUSE)
            engine.run()
    for engine in engines:
        engine.stop()
    rows = {}
    for e in engines:
        times = sorted(e.times)
        rows[e.name] = {
            "median_ms": round(statistics.median(times), 2), "fastest_ms": round(times[0], 2), "slowest_ms": round(times[-1], 2),
            "agreement": agreement[e.name], **e.about,
        }
        print(f"  {e.name:<13}{rows[e.name]['median_ms']:9.2f} ms   {agreement[e.name]}", flush=True)
    return {"part": name, "network": network, "threads": threads, "rounds": len(engines[0].times), "engines": rows}


def machine():
    info = pathlib.Path("/proc/cpuinfo").read_text()
    of = lambda key: next((l.split(":", 1)[1].strip() for l in info.splitlines() if l.startswith(key)), "unknown")
    git = lambda *a: subprocess.run(["git", *a], cwd=ROOT, capture_output=True, text=True).stdout.strip()
    flags = set(of("flags").split())
    return {
        "cpu": of("model name"), "family_model": f"{of('cpu family')}/{of('model')}", "mhz": of("cpu MHz"),
        "cores": len(__import__("os").sched_getaffinity(0)),
        "features": sorted(flags & {"avx2", "fma", "avx512f", "avx512_vnni", "avx512_bf16", "amx_int8", "asimddp"}),
        "kernel": platform.release(), "python": platform.python_version(),
        "commit": git("rev-parse", "--short", "HEAD") + ("+" if git("status", "--porcelain", "--untracked-files=no") else ""),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = parser.add_subparsers(dest="verb", required=True)
    verbs.add_parser("prepare")
    m = verbs.add_parser("measure")
    m.add_argument("parts", nargs="+", choices=PARTS)
    m.add_argument("--threads", nargs="+", type=int, default=[1, 2])
    m.add_argument("--networks", nargs="+", help="of the trunk: zf, zf-plain")
    m.add_argument("--without", nargs="+", default=[], help="engines to leave out")
    m.add_argument("--seconds", type=float, default=20, help="for the rounds of one part")
    m.add_argument("--least", type=int, default=5, help="rounds, however long they take")
    for verb in (m, verbs.add_parser("report")):
        verb.add_argument("--results", type=pathlib.Path, default=RESULTS / f"{datetime.date.today()}.json")
    args = parser.parse_args()
    if args.verb == "prepare":
        prepare()
        return
    if args.verb == "measure":
        known = json.loads(args.results.read_text()) if args.results.exists() else {"runs": []}
        known["machine"] = machine()
        for name in args.parts:
            for network in args.networks or NETWORKS[PARTS[name][0]]:
                for threads in args.threads:
                    print(f"{name}, {network}, {threads} threads", flush=True)
                    run = measure(name, network, threads, args.seconds, args.least, args.without)
                    run["at"], run["commit"] = time.strftime("%Y-%m-%d %H:%M"), known["machine"]["commit"]
                    same = lambda r: (r["part"], r["network"], r["threads"]) == (name, network, threads)
                    known["runs"] = [r for r in known["runs"] if not same(r)] + [run]
                    args.results.parent.mkdir(exist_ok=True)
                    args.results.write_text(json.dumps(known, indent=1) + "\n")
    report.write(args.results)


if __name__ == "__main__":
    main()
