"""Makes tests/golden/{roi_pool,nms,deltas,proposals,detections}.json.

    python tests/python/golden_boxes.py

RoI pooling and suppression come from torchvision; delta coding, proposals and detections are restated here in numpy,
step by step from the papers and the behaviour of the released Python code, with no cleverness in common with the Rust
code. Inputs that need not be readable come from `noise`, which the Rust test computes too.
"""

import json
import pathlib

import numpy as np
import torch
import torchvision

GOLDEN = pathlib.Path(__file__).parent.parent / "golden"
VERSIONS = {"numpy": np.__version__, "torch": torch.__version__.split("+")[0],
            "torchvision": torchvision.__version__.split("+")[0]}
f32 = np.float32


def noise(count, seed):
    """Numbers in [-1, 1) that are exact in f32: a multiplicative hash of index and seed."""
    i = (np.arange(count, dtype=np.uint64) + np.uint64(seed * 1_000_003)) & np.uint64(0xFFFFFFFF)
    for _ in range(2):
        i = (i * np.uint64(2654435761)) & np.uint64(0xFFFFFFFF)
        i ^= i >> np.uint64(15)
    return ((i >> np.uint64(8)).astype(np.float64) / 2**23 - 1.0).astype(f32)


def write(name, what, content):
    content = {"what": what, "made_by": "tests/python/golden_boxes.py", "versions": VERSIONS, **content}
    lines = [f" {json.dumps(k)}: {json.dumps(v, separators=(',', ':'))}" for k, v in content.items()]
    (GOLDEN / f"{name}.json").write_text("{\n" + ",\n".join(lines) + "\n}\n")


def floats(array):
    """f32 as the shortest decimal that reads back to it."""
    return [float(str(v)) for v in np.asarray(array, f32).ravel()]


# --- RoI pooling ---------------------------------------------------------------------------------------------------

def roi_pool():
    channels, rows, cols = 2, 9, 13
    fmap = torch.from_numpy(noise(channels * rows * cols, 1)).reshape(1, channels, rows, cols)
    rois = {
        "whole map": [0, 0, 207, 143],
        "odd corners": [19.3, 11.8, 131.2, 97.6],
        "one cell": [40, 40, 47, 47],
        "one pixel": [100, 60, 100, 60],
        "half-way corners": [8, 24, 72, 88],
        "half-way corners below zero": [-8, -24, 72, 88],
        "hanging over the left top": [-60, -40, 50, 70],
        "hanging over the right bottom": [150, 90, 400, 300],
        "beyond the map": [300, 300, 400, 400],
        "before the map": [-200, -200, -100, -100],
        "reversed": [120, 100, 40, 30],
        "reversed in x only": [120, 30, 40, 100],
        "one column": [64, 0, 64, 143],
    }
    for cells in (2, 3, 5, 7, 9, 10, 11, 13):  # where a multiple of cells/pool in f32 can pass a whole number
        rois[f"{cells} cells wide"] = [0, 0, 16 * (cells - 1), 16 * (min(cells, rows) - 1)]
    boxes = torch.tensor(list(rois.values()), dtype=torch.float32)
    indexed = torch.cat([torch.zeros(len(boxes), 1), boxes], dim=1)
    cases = []
    for pool in (1, 6, 7):
        out, argmax = torch.ops.torchvision.roi_pool(fmap, indexed, 1 / 16, pool, pool)
        cases.append({"pool": pool, "argmax": argmax.flatten().tolist()})
        flat, at = fmap[0].reshape(channels, -1), argmax.reshape(len(boxes), channels, -1)
        for c in range(channels):  # the values need not be stored: they are those argmax points at
            picked = torch.where(at[:, c] >= 0, flat[c][at[:, c].clamp(min=0).long()], torch.zeros(()))
            assert torch.equal(picked, out[:, c].reshape(len(boxes), -1))
    write("roi_pool", "torchvision.ops.roi_pool, positions of the maxima in each plane, -1 for an empty bin",
          {"channels": channels, "rows": rows, "cols": cols, "map_noise_seed": 1, "spatial_scale": 1 / 16,
           "names": list(rois), "rois": [floats(b) for b in boxes.numpy()], "cases": cases})


# --- suppression ---------------------------------------------------------------------------------------------------

def nms():
    count = 150
    raw = noise(4 * count, 2).reshape(4, count).astype(np.float64)
    x, y = np.round(raw[0] * 160 + 160) / 4, np.round(raw[1] * 160 + 160) / 4
    w, h = np.round(raw[2] * 100 + 140) / 4, np.round(raw[3] * 100 + 140) / 4
    inclusive = np.stack([x, y, x + w, y + h], axis=1).astype(f32)
    scores = noise(count, 3)
    half_open = torch.from_numpy(inclusive + np.array([0, 0, 1, 1], f32))
    cases = [{"threshold": t, "kept": torchvision.ops.nms(half_open, torch.from_numpy(scores), t).tolist()}
             for t in (0.3, 0.5, 0.7)]
    assert len(set(scores)) == count, "torchvision does not promise the order of ties"
    write("nms", "torchvision.ops.nms fed with x2 + 1, y2 + 1; boxes here are inclusive",
          {"boxes": [floats(b) for b in inclusive], "score_noise_seed": 3, "cases": cases})


# --- delta coding --------------------------------------------------------------------------------------------------

def encode(reference, target):
    rw, rh = reference[:, 2] - reference[:, 0] + 1, reference[:, 3] - reference[:, 1] + 1
    tw, th = target[:, 2] - target[:, 0] + 1, target[:, 3] - target[:, 1] + 1
    dx = ((target[:, 0] + tw / 2) - (reference[:, 0] + rw / 2)) / rw
    dy = ((target[:, 1] + th / 2) - (reference[:, 1] + rh / 2)) / rh
    return np.stack([dx, dy, np.log(tw / rw), np.log(th / rh)], axis=1)


def decode(reference, delta):
    w, h = reference[:, 2] - reference[:, 0] + 1, reference[:, 3] - reference[:, 1] + 1
    cx, cy = delta[:, 0] * w + (reference[:, 0] + w / 2), delta[:, 1] * h + (reference[:, 1] + h / 2)
    pw, ph = np.exp(delta[:, 2]) * w, np.exp(delta[:, 3]) * h
    return np.stack([cx - pw / 2, cy - ph / 2, cx + pw / 2, cy + ph / 2], axis=1)


def clip(boxes, height, width):
    limit = np.array([width - 1, height - 1, width - 1, height - 1], boxes.dtype)
    return np.minimum(np.maximum(boxes, 0), limit)


def iou_with(box, boxes):
    """Overlaps with the inclusive pixel counts of the released code."""
    w = np.maximum(0, np.minimum(box[2], boxes[:, 2]) - np.maximum(box[0], boxes[:, 0]) + 1)
    h = np.maximum(0, np.minimum(box[3], boxes[:, 3]) - np.maximum(box[1], boxes[:, 1]) + 1)
    area = lambda b: (b[..., 2] - b[..., 0] + 1) * (b[..., 3] - b[..., 1] + 1)
    return w * h / (area(box) + area(boxes) - w * h)


def suppress(boxes, threshold):
    """Indices kept of boxes already sorted."""
    kept, alive = [], np.arange(len(boxes))
    while len(alive):
        kept.append(int(alive[0]))
        alive = alive[1:][iou_with(boxes[alive[0]], boxes[alive[1:]]) <= threshold]
    return kept


def deltas():
    count = 12
    raw = noise(8 * count, 4).reshape(8, count).astype(np.float64)
    corners = lambda r: np.stack([r[0] * 200 + 200, r[1] * 200 + 200, r[0] * 200 + 280 + r[2] * 75,
                                  r[1] * 200 + 280 + r[3] * 75], axis=1).astype(f32)
    reference, target = corners(raw[:4]), corners(raw[4:])
    coded = encode(reference.astype(np.float64), target.astype(np.float64))
    given = noise(4 * count, 5).reshape(count, 4)
    write("deltas", "encode(reference, target) and decode(reference, given) in f64",
          {"reference": [floats(b) for b in reference], "target": [floats(b) for b in target],
           "encoded": [floats(d) for d in coded], "given": [floats(d) for d in given],
           "decoded": [floats(b) for b in decode(reference.astype(np.float64), given.astype(np.float64))]})


# --- proposals -----------------------------------------------------------------------------------------------------

ANCHORS = np.array([(-84, -40, 99, 55), (-176, -88, 191, 103), (-360, -184, 375, 199), (-56, -56, 71, 71),
                    (-120, -120, 135, 135), (-248, -248, 263, 263), (-36, -80, 51, 95), (-80, -168, 95, 183),
                    (-168, -344, 183, 359)], np.float64)


def proposals():
    rows, cols, height, width, scale = 11, 14, 170, 217, 1.25
    pre_nms, post_nms, threshold, min_size = 700, 25, 0.7, 16
    scores = noise(18 * rows * cols, 6).reshape(18, rows, cols) * 3
    maps = noise(36 * rows * cols, 7).reshape(36, rows, cols) * f32(0.5)
    boxes, objectness = [], []
    for row in range(rows):
        for col in range(cols):
            for a in range(9):
                anchor = ANCHORS[a] + np.array([col, row, col, row]) * 16
                boxes.append(decode(anchor[None], maps[4 * a:4 * a + 4, row, col].astype(np.float64)[None])[0])
                pair = np.exp(np.array([scores[a, row, col], scores[9 + a, row, col]], np.float64))
                objectness.append(pair[1] / pair.sum())
    boxes, objectness = clip(np.array(boxes), height, width), np.array(objectness)
    large = np.minimum(boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1]) + 1 >= min_size * scale
    boxes, objectness = boxes[large], objectness[large]
    order = np.argsort(-objectness, kind="stable")[:pre_nms]
    boxes, objectness = boxes[order], objectness[order]
    kept = suppress(boxes, threshold)[:post_nms]
    write("proposals", "the proposal layer restated in f64: boxes x1 y1 x2 y2 inclusive, best first",
          {"rows": rows, "cols": cols, "blob_height": height, "blob_width": width, "scale": scale,
           "pre_nms": pre_nms, "post_nms": post_nms, "nms": threshold, "min_size": min_size,
           "score_noise_seed": 6, "score_factor": 3, "delta_noise_seed": 7, "delta_factor": 0.5,
           "boxes": [floats(b) for b in boxes[kept]], "scores": floats(objectness[kept])})


# --- detections ----------------------------------------------------------------------------------------------------

def detections():
    rois, outputs, height, width, scale = 60, 5, 375, 500, 1.6
    min_score, threshold, limit = 0.25, 0.3, 20
    raw = noise(4 * rois, 8).reshape(4, rois).astype(np.float64)
    x, y = raw[0] * 350 + 350, raw[1] * 250 + 250
    boxes = np.stack([x, y, np.minimum(x + 120 + raw[2] * 80, 799), np.minimum(y + 120 + raw[3] * 80, 599)],
                     axis=1).astype(f32)
    logits = noise(rois * outputs, 9).reshape(rois, outputs) * 3
    scores = np.exp(logits.astype(np.float64))
    scores = (scores / scores.sum(axis=1, keepdims=True)).astype(f32)
    coded = noise(rois * outputs * 4, 10).reshape(rois, outputs, 4) * 2
    stds = np.array([0.1, 0.1, 0.2, 0.2])
    found = []
    for k in range(1, outputs):
        pick = np.flatnonzero(scores[:, k] > min_score)
        pick = pick[np.argsort(-scores[pick, k], kind="stable")]
        located = decode(boxes[pick].astype(np.float64) / scale, coded[pick, k].astype(np.float64) * stds)
        located = clip(located, height, width)
        for i in suppress(located, threshold):
            found.append((float(scores[pick[i], k]), k, located[i]))
    found.sort(key=lambda d: -d[0])
    assert len(found) > limit and len({d[0] for d in found}) == len(found)
    found = found[:limit]
    write("detections", "the test loop restated in f64: rects are half-open, in picture pixels",
          {"height": height, "width": width, "scale": scale, "min_score": min_score, "nms": threshold, "max": limit,
           "outputs": outputs, "rois": [floats(b) for b in boxes], "scores": floats(scores),
           "delta_noise_seed": 10, "delta_factor": 2, "stds": stds.tolist(),
           "found_class": [d[1] for d in found], "found_score": floats([d[0] for d in found]),
           "found_rect": [floats(d[2] + np.array([0, 0, 1, 1])) for d in found]})


if __name__ == "__main__":
    GOLDEN.mkdir(exist_ok=True)
    for make in (roi_pool, nms, deltas, proposals, detections):
        make()
    for name in ("roi_pool", "nms", "deltas", "proposals", "detections"):
        print(name, (GOLDEN / f"{name}.json").stat().st_size, "bytes")
