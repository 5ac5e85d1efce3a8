"""Runs `edge-rcnn run` for very many frames, with readers that pause and leave and with SIGTERM at any moment.

    python3 tests/soak.py target/release/edge-rcnn --frames 100000
    python3 tests/soak.py target/release/edge-rcnn --clip FILM --minutes 10 -- --budget 150ms

With --clip, one run at full load instead: ffmpeg plays the film again and again like a camera of --fps, with frames twice
where it has fewer, and the whole detector looks at as many frames as it can. --record TITLE keeps what was measured, with
date and commit, in tests/SOAK.md.

Holds every line to: valid JSON, one object, at most 32 KiB, type and times first, numbers of frames and drops that add up.
Holds the process to: memory after the warm-up (the first tenth) within --drift-kib of memory at the end, file descriptors
and threads the same. Prints one JSON object with what was measured; says what is wrong and exits with 1 otherwise.
Needs nothing but Python, and ffmpeg for --clip.
"""

import argparse
import json
import os
import pathlib
import platform
import random
import re
import signal
import subprocess
import sys
import time

FAST = "--size 96x64 --scale 32 --proposals 4 --threads 1 --track --min-score 0".split()
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


def listens(process):
    """Whether the program has been started far enough to hear SIGTERM, which on a busy machine takes its time."""
    with open(f"/proc/{process.pid}/status") as text:
        return bool(int(re.search(r"^SigCgt:\s+(\w+)", text.read(), re.M).group(1), 16) >> (signal.SIGTERM - 1) & 1)


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
    # The gate has the detector look at about each tenth: the others go the same way without the time it takes.
    film = "--source synthetic --every-frame --fps 10000 --motion-gate 0.1".split()
    process = start(program, *film, "--stats-every", "0.5")
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
    assert value["frames"] - value["gated"] >= frames // 50, value
    assert counts.get("error", 0) == 0, counts
    return {
        "frames": value["frames"],
        "looked_at": value["frames"] - value["gated"],
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
    """Ends within two seconds, with `bye`, and never with half a line; also while the model is still being loaded."""
    slowest, early, seed = 0.0, 0, random.Random(1)
    for n in range(times):
        process = start(program, "--source", "synthetic", "--fps", "200")
        if n % 2:
            process.stdout.readline()
        time.sleep(seed.random() * 0.6)
        heard, asked = listens(process), time.monotonic()
        process.send_signal(signal.SIGTERM)
        lines = [parsed(line) for line in process.stdout]
        code = process.wait(10)
        slowest = max(slowest, time.monotonic() - asked)
        log = process.stderr.read().decode()
        if not lines and not heard:
            # The program itself was not running yet.
            assert code == -signal.SIGTERM, f"{code}: {log}"
            continue
        assert code == 0 and lines and lines[-1]["type"] == "bye", f"{code}: {lines[-1:]}: {log}"
        adds_up(lines[-1], 0)
        early += len(lines) == 1 and n % 2 == 0
    assert slowest < 2.0, f"ended after {slowest:.2f} s"
    return {"times": times, "slowest_ms": round(slowest * 1e3), "before_the_first_line": early}


def percentiles(values):
    values = sorted(values)
    return {f"p{n}": round(values[max(-(-len(values) * n // 100), 1) - 1], 1) for n in (50, 95, 99)}


def full_load(program, clip, fps, minutes, arguments):
    """The whole detector on a film that plays like a camera, for so long."""
    play = ["ffmpeg", "-nostdin", "-loglevel", "error", "-stream_loop", "-1", "-re", "-i", clip]
    play += ["-vf", f"fps={fps}", "-pix_fmt", "yuv420p", "-f", "yuv4mpegpipe", "-"]
    film = subprocess.Popen(play, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
    command = [program, "run", "--source", "-", *arguments]
    process = subprocess.Popen(command, stdin=film.stdout, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    film.stdout.close()
    latencies, took, steps, longest, warm, memory, first = [], [], {}, 0, None, None, None
    errors = 0
    for line in process.stdout:
        value, longest = parsed(line), max(longest, len(line))
        errors += value["type"] == "error"
        if value["type"] != "frame":
            continue
        first = first or time.monotonic()
        latencies.append(value["latency_ms"])
        took.append(sum(ms for stage, ms in value["stage_ms"].items() if stage not in ("wait", "emit")))
        if "budget" in value:
            step = f"{value['budget']['step']} of {value['budget']['of']}: scale {value['scale']:.3f}, {value['proposals']} regions"
            steps[step] = steps.get(step, 0) + 1
        passed = time.monotonic() - first
        if warm is None and passed > minutes * 6:
            warm = (status(process, "VmRSS"), descriptors(process), status(process, "Threads"))
        if memory is None and passed > minutes * 60:
            memory = (status(process, "VmRSS"), descriptors(process), status(process, "Threads"))
            lasted = time.monotonic() - first
            process.send_signal(signal.SIGTERM)
    film.kill()
    film.wait()
    adds_up(value, len(latencies))
    end(process)
    assert errors == 0, f"{errors} error lines"
    return {
        "arguments": " ".join(arguments),
        "film_fps": fps,
        "minutes": round(lasted / 60, 1),
        "captured": value["captured"],
        "frames": value["frames"],
        "dropped": {cause: n for cause, n in value["dropped"].items() if n},
        "frames_per_second": round(value["frames"] / lasted, 2),
        "latency_ms": percentiles(latencies),
        "processing_ms": percentiles(took),
        "steps": dict(sorted(steps.items(), key=lambda item: -item[1])),
        "longest_line_bytes": longest,
        "rss_kib_warm_and_end": [warm[0], memory[0]],
        "descriptors_warm_and_end": [warm[1], memory[1]],
        "threads_warm_and_end": [warm[2], memory[2]],
    }


def constant(soak, drift_kib):
    warm, last = soak["rss_kib_warm_and_end"]
    assert last - warm < drift_kib, f"memory grew by {last - warm} KiB"
    for what in ("descriptors", "threads"):
        warm, last = soak[f"{what}_warm_and_end"]
        assert warm == last, f"{what}: {warm}, then {last}"


def record(title, measured):
    """Keeps it as a section of SOAK.md, in the place of an earlier one of that title."""
    here = pathlib.Path(__file__).resolve().parent
    commit = subprocess.run(["git", "-C", here, "rev-parse", "--short", "HEAD"], capture_output=True, text=True).stdout.strip()
    model = re.search(r"^model name\s*:\s*(.*)$", pathlib.Path("/proc/cpuinfo").read_text(), re.M)
    processor = model.group(1) if model else platform.machine()
    when = time.strftime("%Y-%m-%d", time.gmtime())
    text = f"{title}\n\n{when}, commit {commit}, {os.cpu_count()} threads of {processor}.\n\n```json\n{json.dumps(measured, indent=2)}\n```\n"
    file = here / "SOAK.md"
    head, *sections = file.read_text().split("\n## ") if file.exists() else ["# Last runs of tests/soak.py\n"]
    kept = [section.rstrip() + "\n" for section in sections if section.split("\n")[0] != title]
    file.write_text("\n## ".join([head.rstrip() + "\n", *sorted([*kept, text])]))


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("program")
    arguments.add_argument("--frames", type=int, default=100_000)
    arguments.add_argument("--pause", type=float, default=30.0, help="seconds")
    arguments.add_argument("--times", type=int, default=20, help="readers that leave, and SIGTERMs")
    arguments.add_argument("--drift-kib", type=int, default=1024)
    arguments.add_argument("--clip", metavar="FILM", help="one run at full load on it")
    arguments.add_argument("--fps", type=float, default=30, help="of the film")
    arguments.add_argument("--minutes", type=float, default=10)
    arguments.add_argument("--record", metavar="TITLE")
    split = sys.argv.index("--") if "--" in sys.argv else len(sys.argv)
    args, of_the_run = arguments.parse_args(sys.argv[1:split]), sys.argv[split + 1 :]
    if args.clip:
        measured = full_load(args.program, args.clip, args.fps, args.minutes, of_the_run)
        print(json.dumps(measured, indent=2))
        constant(measured, args.drift_kib)
        if args.record:
            record(args.record, measured)
        return
    measured = {
        "many_frames": many_frames(args.program, args.frames),
        "reader_that_pauses": reader_that_pauses(args.program, args.pause),
        "readers_that_leave": reader_that_leaves(args.program, args.times),
        "sigterm_at_any_moment": sigterm_at_any_moment(args.program, args.times),
    }
    print(json.dumps(measured, indent=2))
    constant(measured["many_frames"], args.drift_kib)
    assert measured["reader_that_pauses"]["grown_kib"] < args.drift_kib, measured["reader_that_pauses"]
    if args.record:
        record(args.record, measured)


if __name__ == "__main__":
    main()
