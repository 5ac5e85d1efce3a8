"""Reads the console of the virtual machine and says which checks hold. The last line is the summary."""

import json
import sys

CAUSES = ["busy", "corrupt", "failed", "reader", "stop", "driver", "empty", "size", "not_jpeg", "cut_off"]


class Scene:
    """What the program has said in one scene."""

    def __init__(self, name):
        self.name, self.lines, self.notes, self.code = name, [], [], None

    def of(self, kind, **fields):
        same = lambda line: line["type"] == kind and all(line.get(k) == v for k, v in fields.items())
        return [line for line in self.lines if same(line)]

    def noted(self, word):
        return [note[len(word) + 1 :] for note in self.notes if note.startswith(word + " ")]

    def log(self):
        return "\n".join(self.noted("log"))


def scenes(path):
    found, scene = {}, None
    for line in open(path, errors="replace"):
        line = line.strip()
        # The first line stands behind what the firmware has sent to the screen.
        if not line.startswith("{") and "@@ " in line:
            line = line[line.index("@@ ") :]
        if line.startswith("@@ scene "):
            scene = found.setdefault(line[9:], Scene(line[9:]))
        elif line.startswith("@@ code ") and scene:
            scene.code = int(line[8:])
        elif line.startswith("@@ ") and scene:
            scene.notes.append(line[3:])
        elif line.startswith("{") and scene:
            scene.lines.append(json.loads(line))
    return found


passed = failed = 0


def check(scene, what, holds):
    global passed, failed
    passed, failed = passed + bool(holds), failed + (not holds)
    print(f"{'ok  ' if holds else 'FAIL'} {scene.name}: {what}")


def whole(scene, code=0):
    """What holds for every run that streamed."""
    bye = scene.of("bye")
    check(scene, f"ends with exit code {code}", scene.code == code)
    check(scene, "says bye", len(bye) == 1)
    if bye:
        total = bye[0]["frames"] + sum(bye[0]["dropped"].values())
        check(scene, f"captured {bye[0]['captured']} = frames + dropped", bye[0]["captured"] == total)
        check(scene, "knows all causes", list(bye[0]["dropped"]) == CAUSES)
    times = [frame["t_mono_us"] for frame in scene.of("frame")]
    check(scene, "times run forward", times == sorted(times))
    check(scene, "latency is more than its stages and plausible", all(plausible(f) for f in scene.of("frame")))
    check(scene, "no wait was in vain", not [n for n in scene.notes if n.startswith("note")])


def plausible(frame):
    stages = sum(frame["stage_ms"].values())
    return 0 < stages <= frame["latency_ms"] + 1 and frame["latency_ms"] < 60_000


def story(scene):
    """The states of the camera, one word each."""
    return [f"{s['camera']} {s.get('reason', '')}".strip() for s in scene.of("status")]


def judge(all_scenes):
    cameras = all_scenes["cameras"]
    camera = cameras.lines[0]
    there = {f["fourcc"] for f in camera["formats"] if f["read"]}
    wanted = {"YUYV", "UYVY", "NV12", "NV21", "YU12", "GREY", "RGB3", "BGR3"}
    check(cameras, "lists /dev/video0 as vivid, usable", camera["driver"] == "vivid" and camera["usable"])
    check(cameras, f"lists every format we read that vivid has: {sorted(there)}", wanted <= there)
    check(cameras, "lists sizes with rates", all(s.get("fps", 0) > 0 for f in camera["formats"] for s in f["sizes"]))
    check(cameras, "lists controls", "brightness" in {c["name"] for c in camera["controls"]})

    for name, scene in all_scenes.items():
        if not name.startswith("format "):
            continue
        whole(scene)
        status = scene.of("status", camera="streaming")[0]
        size = (status["width"], status["height"], status["format"])
        check(scene, f"streams {size}, stride {status['stride']}", size == (320, 180, name.split()[1]))

    scene = all_scenes["refused format"]
    away = scene.of("status", camera="waiting", reason="FORMAT")
    check(scene, "says what is offered instead", away and "YUYV" in away[0]["message"])

    scene = all_scenes["padded size"]
    whole(scene)
    status = scene.of("status", camera="streaming")[0]
    check(scene, f"reports what was granted: {status['width']}x{status['height']}", status["stride"] >= status["width"])

    scene = all_scenes["times in the future"]
    whole(scene)
    check(scene, "the time of dequeuing stands for them", all(f.get("ts_src") == "dequeue" for f in scene.of("frame")))
    check(scene, "they are counted", scene.of("bye")[0].get("times_corrected", 0) > 0)

    scene = all_scenes["hundred frames"]
    whole(scene)
    check(scene, "frames carry the driver's time", all("ts_src" not in f for f in scene.of("frame")))
    frames = scene.of("frame")
    check(scene, f"{len(frames)} frames looked at", len(frames) >= 100)
    check(scene, "opened once", story(scene) == ["streaming"])
    numbers = [f["seq"] for f in frames]
    check(scene, "numbers rise", all(a < b for a, b in zip(numbers, numbers[1:])))
    gaps = sum(b - a - 1 for a, b in zip(numbers, numbers[1:]))
    dropped = sum(sum(f.get("dropped", {}).values()) for f in frames[1:])
    check(scene, f"gaps in the numbers ({gaps}) are the drops told", gaps == dropped)
    waits = sorted(f["stage_ms"]["wait"] for f in frames)
    check(scene, f"frames are fresh: {waits[len(waits) // 2]:.0f} ms in the middle", waits[len(waits) // 2] < 2000 / 15)

    scene = all_scenes["busy"]
    whole(scene)
    check(scene, "a second program is told EBUSY and what helps", any("EBUSY" in s and "fuser" in s for s in scene.noted("second")))

    scene = all_scenes["controls"]
    whole(scene)
    check(scene, "controls are set by name", {"brightness: 77", "contrast: 55"} <= set(scene.noted("text")))
    scene = all_scenes["unknown control"]
    away = scene.of("status", camera="waiting", reason="CONTROL")
    check(scene, "lists the controls there are", away and "brightness" in away[0]["message"])

    scene = all_scenes["fatal streaming error"]
    whole(scene)
    check(scene, f"lost and found again: {story(scene)}", story(scene) == ["streaming", "lost EIO", "streaming"])
    check(scene, "open files as before", len(set(scene.noted("files"))) == 1)
    scene = all_scenes["unplugged and replugged"]
    whole(scene)
    check(scene, f"lost, waited, found again: {story(scene)}", replugged(story(scene)))
    check(scene, "open files as before", len(set(scene.noted("files"))) == 1)
    scene = all_scenes["start refused"]
    whole(scene)
    check(scene, f"waits and tries again: {story(scene)}", story(scene) == ["waiting EINVAL", "streaming"])
    scene = all_scenes["unbound and bound"]
    whole(scene)
    check(scene, f"lost, waited, found again: {story(scene)}", replugged(story(scene)))
    check(scene, "open files as before", len(set(scene.noted("files"))) == 1)
    scene = all_scenes["reader gone"]
    check(scene, f"{len(scene.lines)} lines were read", len(scene.lines) == 4)
    check(scene, "exit code 0", scene.code == 0)
    scene = all_scenes["another number behind the same link"]
    whole(scene)
    devices = [s["device"] for s in scene.of("status", camera="streaming")]
    check(scene, f"follows the link: {devices}", devices[0] == "/dev/video0" and devices[-1] == "/dev/video5")
    scene = all_scenes["exit on lost"]
    whole(scene, 69)
    check(scene, "the last error says why", "ENODEV" in scene.of("error")[-1]["message"])

    scene = all_scenes["frames lost by the driver"]
    whole(scene)
    check(scene, f"counts {scene.of('bye')[0]['dropped']['driver']} of them", scene.of("bye")[0]["dropped"]["driver"] > 0)
    scene = all_scenes["damaged buffers"]
    whole(scene)
    check(scene, "counts them", scene.of("bye")[0]["dropped"]["corrupt"] > 0)
    check(scene, "goes on", story(scene) == ["streaming"])
    scene = all_scenes["numbers that wrap"]
    whole(scene)
    numbers = [f["seq"] for f in scene.of("frame")]
    rise = all(a < b for a, b in zip(numbers, numbers[1:]))
    check(scene, f"numbers go on over 32 bits: {numbers[0]} … {numbers[-1]}", rise and numbers[0] < 2**32 < numbers[-1])
    scene = all_scenes["times that wrap"]
    whole(scene)
    late = [f["latency_ms"] for f in scene.of("frame")]
    check(scene, f"latencies stay below a minute ({max(late):.0f} ms)", max(late) < 60_000)

    scene = all_scenes["not permitted"]
    check(scene, "exit code 69", scene.code == 69)
    check(scene, "says EACCES and what helps", "EACCES" in scene.log() and "SupplementaryGroups=video" in scene.log())

    scene = all_scenes["motion jpeg"]
    whole(scene)
    status = scene.of("status", camera="streaming")[0]
    size = (status["width"], status["height"], status["fourcc"])
    check(scene, f"streams {size}, stride {status['stride']}", size == (512, 512, "MJPG"))
    # The first buffer is told to be full, whatever was written to it.
    useless = sum(scene.of("bye")[0]["dropped"][cause] for cause in ("corrupt", "size", "not_jpeg", "cut_off"))
    check(scene, "every frame can be decoded", len(scene.of("frame")) >= 5 and useless == 0)
    scene = all_scenes["cameras with motion jpeg"]
    loops = [c for c in scene.lines if c["device"] == "/dev/video9"]
    check(scene, "lists it as usable, with MJPG", loops and loops[0]["usable"] and reads(loops[0], "MJPG"))
    scene = all_scenes["damaged jpegs"]
    whole(scene)
    dropped = scene.of("bye")[0]["dropped"]
    check(scene, f"counts them: {dropped['cut_off']} and {dropped['not_jpeg']}", dropped["cut_off"] > 0 and dropped["not_jpeg"] > 0)
    check(scene, "goes on", story(scene) == ["streaming"])
    scene = all_scenes["nobody writes"]
    whole(scene)
    check(scene, f"lost, found again: {story(scene)}", story(scene)[:2] == ["streaming", "lost TIMEOUT"] and story(scene)[-1] == "streaming")
    check(scene, "open files as before", len(set(scene.noted("files"))) == 1)


def reads(camera, fourcc):
    return any(f["fourcc"] == fourcc and f["read"] for f in camera["formats"])


def replugged(states):
    lost = [s for s in states if s.startswith("lost")]
    return states[0] == states[-1] == "streaming" and lost and "waiting ENOENT" in states


if __name__ == "__main__":
    try:
        judge(scenes(sys.argv[1]))
    except (KeyError, IndexError) as missing:
        failed += 1
        print(f"FAIL something is missing on the console: {missing!r}")
    print(f"vm: {passed} checks passed, {failed} failed")
