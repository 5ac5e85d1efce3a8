"""Predicts how long each stage takes on boards that are not here; Markdown on standard output.

    predict.py LOOPS_ARM LOOPS_X86 BENCH...

LOOPS are what loops.py has written, BENCH lines of `edge-rcnn bench --json --threads 1` on a Zen 4 or 5, whose layers and
stages are predicted as well and compared.

A layer takes as long as its tiles in the compiled loop of as many rows, plus its plain operations at the core's speed of
adding vectors, plus the time to move its bytes. Nothing is hidden behind anything else, and several cores share the work
without loss but for the memory, which all share.
"""

import json
import math
import sys
from dataclasses import dataclass, field

from layers import Words, layers


@dataclass
class Machine:
    """A board: clocks, cores and caches as vendors say, bandwidths as copies of large arrays reach them."""

    name: str
    core: str  # of llvm-mca
    ghz: float
    cores: int
    dram: float  # GB/s, all cores together
    cache: float  # MB that all cores share before DRAM
    within: float  # GB/s of that cache, all cores together
    scalar: float  # speed in code that is no loop of multiply-adds, a cycle, beside the machine of BENCH
    dot: bool
    # How layers are computed where there is a choice.
    words: Words | None = None
    strassen: bool = False
    # What loops that only multiply (or add) reach, a cycle, where llvm-mca's table of the core is known to be wrong.
    most: dict = field(default_factory=dict)


BOARDS = [
    Machine("Raspberry Pi 3 B+", "cortex-a53", 1.4, 4, 2.0, 0.5, 8, 0.25, False, Words(30, 2)),
    Machine("Raspberry Pi 4", "cortex-a72", 1.8, 4, 4.5, 1.0, 20, 0.45, False, Words(30, 2)),
    Machine("Raspberry Pi 5", "neoverse-n1", 2.4, 4, 9.0, 2.0, 60, 0.7, True),
    Machine("Jetson Orin Nano", "neoverse-n1", 1.5, 6, 30.0, 4.0, 60, 0.7, True),
]
# By the family that the processor says it is of. llvm-mca thinks that Zen 4 starts a dot product of 64 bytes every second
# cycle, and has no table for Zen 5, which does two of everything in one. Zen 4 was measured when it had neither words nor
# Strassen's method.
ZEN = {
    25: Machine("Zen 4", "znver4", 3.65, 1, 20.0, 32.0, 60, 1.0, True, most={"int8 dot": 64}),
    26: Machine(
        "Zen 5", "znver4", 4.15, 1, 20.0, 32.0, 60, 1.0, True, Words(40, 1), True,
        {"f32": 32, "int8 dot": 128, "int8 words": 64, "plain": 32},
    ),
}  # fmt: skip

# Steps of the budget's ladder (src/watch/ladder.rs): parts of a shorter side of 600 and of 300 regions.
LADDER = [
    (0.16, 0.06), (0.2, 0.1), (0.27, 0.1), (0.33, 0.17), (0.4, 0.17),
    (0.5, 0.33), (0.67, 0.33), (0.83, 0.33), (1.0, 0.33), (1.0, 1.0),
]  # fmt: skip
BUDGET_MS = 1000 / 17
STAGES = ("preprocess", "trunk", "proposals", "roi_pool", "head")
# Layers that take less are not compared.
SMALLEST_MS = 0.3
# A step whose inputs are read alone takes as long as two of those that are read four at a time.
ALONE = 2


def tile_cycles(loop, rows):
    """Cycles of an iteration over so many rows, split evenly into tiles; those not found lie between two that are."""
    found = {int(r): c for r, c in loop["tiles"].items()}
    most = max(found)
    tiles = -(-int(rows) // most)
    total = 0.0
    for t in range(tiles):
        size = rows * (t + 1) // tiles - rows * t // tiles
        below = max((r for r in found if r <= size), default=min(found))
        above = min((r for r in found if r >= size), default=most)
        part = 0 if above == below else (size - below) / (above - below)
        total += found[below] + part * (found[above] - found[below])
    return total


def layer_ms(machine, core, kind, layer):
    """Milliseconds of products, plain operations and memory."""
    kind = "int8 words" if layer.words else kind
    loop = core[kind]
    panels = -(-layer.outputs // loop["width"])
    steps = (layer.depth + ALONE * layer.alone) / loop["depth"]
    hertz = machine.ghz * 1e9 * machine.cores
    wrong = loop["peak"] / machine.most.get(kind, loop["peak"])
    products = layer.times * panels * steps * tile_cycles(loop, max(1, round(layer.rows))) * wrong / hertz
    plain = layer.plain / machine.most.get("plain", core["plain"]) / hertz
    bandwidth = machine.within if layer.moved < machine.cache * 2**20 else machine.dram
    return 1e3 * products, 1e3 * plain, layer.moved / bandwidth / 1e6


def predict(machine, loops, rest, rows, cols, regions, int8):
    """Milliseconds by layer and by stage. `rest` are those measured of stages without multiply-adds, and their sizes."""
    core = loops[machine.core]
    kind = "f32" if not int8 else "int8 dot" if machine.dot else "int8"
    by_layer, stages = {}, dict.fromkeys(STAGES, 0.0)
    step = 4 if kind == "int8 dot" else 16
    for layer in layers(rows, cols, regions, int8, step, machine.words, machine.strassen):
        by_layer[layer.name] = layer_ms(machine, core, kind, layer)
        stages[layer.stage] += sum(by_layer[layer.name])
    slower = rest["ghz"] / machine.ghz / machine.scalar / machine.cores
    for name, (ms, pixels, with_regions) in rest[int8].items():
        stages[name] = ms * slower * (regions / with_regions if name == "roi_pool" else rows * cols / pixels)
    return by_layer, stages


def table(header, rows):
    print(f"| {' | '.join(header)} |\n|{'---|' * len(header)}")
    for row in rows:
        print(f"| {' | '.join(str(cell) for cell in row)} |")
    print()


def check(loops, bench, rest):
    """Predicted and measured layers and stages of machines that are here, or were."""
    rows, errors = [], []
    for line in bench:
        (height, width), regions = line["input"], line["proposals"]
        machine, int8 = ZEN[line["family"]], line["kernels"].startswith("int8")
        by_layer, predicted = predict(machine, loops, rest, height, width, regions, int8)
        predicted |= {name: sum(parts) for name, parts in by_layer.items()}
        measured = {layer["layer"]: layer["ms"] for layer in line["layers"]}
        measured |= {name: line["stage_ms"][name]["p50"] for name in ("trunk", "head")}
        for name, ms in measured.items():
            # The smallest are all overhead, and pooling has no multiply-adds.
            if name in predicted and ms >= SMALLEST_MS:
                error = predicted[name] / ms - 1
                stage = name in ("trunk", "head")
                errors += [error] * stage
                name_shown = f"**{name}**" if stage else name
                numbers = "int8" if int8 else "f32"
                figures = f"{predicted[name]:.1f}", f"{ms:.1f}", f"{error:+.0%}"
                rows.append((machine.name, f"{height}×{width}, {regions}", numbers, name_shown, *figures))
    table(("core", "input, regions", "numbers", "layer or **stage**", "predicted ms", "measured ms", "error"), rows)
    mean = sum(abs(e) for e in errors) / len(errors)
    print(f"Trunk and head: from {min(errors):+.0%} to {max(errors):+.0%}, on average off by {mean:.0%}.\n")


def rest_of(bench):
    """Stages without multiply-adds as measured, at the largest size of each kind of numbers."""
    found = {}
    for line in sorted(bench, key=lambda line: math.prod(line["input"])):
        if "proposals" in line["stage_ms"]:
            ms, size = line["stage_ms"], (math.prod(line["input"]), line["proposals"])
            names = ("preprocess", "proposals", "roi_pool")
            found["ghz"] = ZEN[line["family"]].ghz
            found[line["kernels"].startswith("int8")] = {name: (ms[name]["p50"], *size) for name in names}
    return found


def show_loops(kinds_by_core):
    rows = []
    for core, kinds in kinds_by_core.items():
        for kind, loop in kinds.items():
            if kind == "plain":
                continue
            most = max(loop["tiles"], key=int)
            cycles = loop["tiles"][most]
            speed = loop["macs"] / cycles
            parts = loop["macs"], loop["instructions"], loop["spills"], cycles, f"{speed:.2f}", loop["peak"]
            rows.append((core, kind, f"{most}×{loop['width']}", *parts, f"{speed / loop['peak']:.0%}"))
    header = "core", "numbers", "tile", "multiply-adds", "instructions", "spills", "cycles", "a cycle", "at most", "share"
    table(header, rows)


def climb(board, loops, rest, int8):
    """The steps of the ladder: their input, regions, milliseconds by stage."""
    for side, part in LADDER:
        side, regions = max(64, round(600 * side)), max(10, round(300 * part))
        size = side, side * 4 // 3
        yield f"{size[0]}×{size[1]}", regions, predict(board, loops, rest, *size, regions, int8)[1]


def main():
    arm, x86 = (json.load(open(path)) for path in sys.argv[1:3])
    bench = [json.loads(line) for path in sys.argv[3:] for line in open(path)]
    rest = rest_of(bench)
    boards = [(board, int8, list(climb(board, arm, rest, int8))) for board in BOARDS for int8 in (True, False)]

    print("## The step at which a board holds 17 frames a second\n")
    rows = []
    for board, int8, steps in boards:
        held = [step for step in steps if sum(step[2].values()) <= BUDGET_MS]
        best = (held[-1][0], held[-1][1], f"{sum(held[-1][2].values()):.0f}") if held else ("none", "", "")
        rows.append((board.name, "int8" if int8 else "f32", *best))
    table(("board", "numbers", "input", "regions", "ms"), rows)

    print("## Innermost loops\n")
    show_loops(arm | x86)
    print("## The method where it can be measured\n")
    check(x86, bench, rest)
    print("## Milliseconds for a frame of 4:3\n")
    for board, int8, steps in boards:
        numbers = "int8" if int8 else "f32"
        print(f"{board.name}, {numbers}: {board.cores} × {board.core} at {board.ghz} GHz, {board.dram} GB/s.\n")
        rows = []
        for size, regions, stages in steps:
            rows.append((size, regions, *(f"{ms:.1f}" for ms in (*stages.values(), sum(stages.values())))))
        table(("input", "regions", *STAGES, "together"), rows)


if __name__ == "__main__":
    main()
