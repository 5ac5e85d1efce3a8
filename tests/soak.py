"""Runs `edge-rcnn run` for very many frames, with readers that pause and leave and with SIGTERM at any moment.

    python3 tests/soak.py target/release/edge-rcnn --frames 100000

Holds every line to: valid JSON, one object, at most 32 KiB, type and times first, numbers of frames and drops that add up.
Holds the process to: memory after the warm-up (the first tenth) within --drift-kib of memory at the end, file descriptors
and threads the same. Prints one JSON object with what was measured; says what is wrong and exits with 1 otherwise.
Needs nothing but Python.
"""

import argparse
import json
import os
import random
import re
import signal
import subprocess
import time

FAST = "--size 96x64 --scale 64 --proposals 10 --threads 1 --track --min-score 0".split()
LONGEST = 32 << 10


def no_nan(name):
    raise ValueError(f"{name} is not JSON")


def no_doubles(pairs):
    assert len(dict(pairs)) == len(pairs), f"a name occurs twice: {pairs}"
    return dict(pairs)


def parsed(line):
    assert line.endswith(b"\n"), f"not a whole line: {line[-80:]!r}"
    assert len(line) <= LONGEST, f"a line of {len(line)} bytes"
    value = json.loads(line.decode("utf-8"), parse_constant=no_nan, object_pairs_hook=no_doubles)
    assert list(value)[:3] == ["type", "t", "t_mono_us"], line[:200]
    return value


def start(program, *args):
    command = [program, "run", *FAST, *args]
    return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def status(process, field):
    with open(f"/proc/{process.pid}/status") as text:
        return int(re.search(rf"^{field}:\s+(\d+)", text.read(), re.M).group(1))


def descriptors(process):
    return len(os.listdir(f"/proc/{process.pid}/fd"))


def end(process, code=0):
    process.stdout.close()
    log = process.stderr.read().decode()
    assert process.wait(10) == code, f"exit code {process.returncode}: {log}"
    return log


def adds_up(bye, frames):
    assert bye["type"] == "bye" and bye["frames"] >= frames, bye
    assert bye["captured"] == bye["frames"] + sum(bye["dropped"].values()), bye


def many_frames(program, frames):
    """As many frames as asked for, none dropped."""
    process = start(program, "--source", "synthetic", "--every-frame", "--fps", "10000", "--stats-every", "0.5")
    counts, longest, memory, warm, last = {}, 0, [], None, None
    started = time.monotonic()
    for line in process.stdout:
        value, longest = parsed(line), max(longest, len(line))
        counts[value["type"]] = counts.get(value["type"], 0) + 1
        if value["type"] == "frame":
            assert last is None or value["seq"] == last["seq"] + 1, "a frame is missing"
            assert last is None or value["t_mono_us"] >= last["t_mono_us"], "time went back"
            last = value
            if value["frame"] == max(frames // 10, 20):
                warm = (status(process, "VmRSS"), descriptors(process), status(process, "Threads"))
            if value["frame"] >= frames and not memory:
                memory = (status(process, "VmRSS"), descriptors(process), status(process, "Threads"))
                took = time.monotonic() - started
                process.send_signal(signal.SIGTERM)
    adds_up(value, frames)
    end(process)
    assert counts.get("error", 0) == 0, counts
    return {
        "frames": value["frames"],
        "frames_per_second": round(frames / took, 1),
        "longest_line_bytes": longest,
        "rss_kib_warm_and_end": [warm[0], memory[0]],
        "descriptors_warm_and_end": [warm[1], memory[1]],
        "threads_warm_and_end": [warm[2], memory[2]],
    }


def reader_that_pauses(program, seconds):
    """A live source goes on without its reader; frames are lost as a whole and counted."""
    process = start(program, "--source", "synthetic", "--fps", "200")
    for _ in range(20):
        parsed(process.stdout.readline())
    before = status(process, "VmRSS")
    time.sleep(seconds)
    grown = status(process, "VmRSS") - before
    lost, frames = 0, 0
    while not lost:
        value = parsed(process.stdout.readline())
        lost += value.get("dropped", {}).get("reader", 0) if value["type"] == "frame" else 0
        frames += 1
        assert frames < 10000, "no frame says that frames were dropped for the reader's sake"
    process.send_signal(signal.SIGTERM)
    for line in process.stdout:
        value = parsed(line)
    adds_up(value, frames // 2)
    end(process)
    return {"seconds": seconds, "lost": lost, "grown_kib": grown}


def reader_that_leaves(program, times):
    """A normal end without a word, whenever the reader goes."""
    for n in range(times):
        process = start(program, "--source", "synthetic", "--fps", "200", "--quiet")
        for _ in range(n):
            process.stdout.readline()
        log = end(process)
        assert log == "", log
    return times


def sigterm_at_any_moment(program, times):
    """Ends within two seconds, with `bye` as soon as there was a `hello`, and never with half a line."""
    slowest, seed = 0.0, random.Random(1)
    for n in range(times):
        process = start(program, "--source", "synthetic", "--fps", "200")
        if n % 2:
            process.stdout.readline()
        time.sleep(seed.random() * 0.6)
        asked = time.monotonic()
        process.send_signal(signal.SIGTERM)
        lines = [parsed(line) for line in process.stdout]
        code = process.wait(10)
        slowest = max(slowest, time.monotonic() - asked)
        log = process.stderr.read().decode()
        if lines or n % 2:
            assert code == 0 and lines[-1]["type"] == "bye", f"{code}: {lines[-1:]}: {log}"
        else:
            # Before the first line, while the model is loaded: nothing was begun that would have to be ended.
            assert code in (0, -signal.SIGTERM), f"{code}: {log}"
    assert slowest < 2.0, f"ended after {slowest:.2f} s"
    return {"times": times, "slowest_ms": round(slowest * 1e3)}


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("program")
    arguments.add_argument("--frames", type=int, default=100_000)
    arguments.add_argument("--pause", type=float, default=30.0, help="seconds")
    arguments.add_argument("--times", type=int, default=20, help="readers that leave, and SIGTERMs")
    arguments.add_argument("--drift-kib", type=int, default=1024)
    args = arguments.parse_args()
    measured = {
        "many_frames": many_frames(args.program, args.frames),
        "reader_that_pauses": reader_that_pauses(args.program, args.pause),
        "readers_that_leave": reader_that_leaves(args.program, args.times),
        "sigterm_at_any_moment": sigterm_at_any_moment(args.program, args.times),
    }
    print(json.dumps(measured, indent=2))
    soak = measured["many_frames"]
    warm, last = soak["rss_kib_warm_and_end"]
    assert last - warm < args.drift_kib, f"memory grew by {last - warm} KiB"
    assert measured["reader_that_pauses"]["grown_kib"] < args.drift_kib, measured["reader_that_pauses"]
    for what in ("descriptors", "threads"):
        warm, last = soak[f"{what}_warm_and_end"]
        assert warm == last, f"{what}: {warm}, then {last}"


if __name__ == "__main__":
    main()
