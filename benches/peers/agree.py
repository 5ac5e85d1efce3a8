"""Whether two engines have computed the same."""

import json

import numpy as np

import files

# Maps, probabilities and deltas: root of the mean squared difference, over that of the reference. Engines of f32 differ in the
# order of sums, and some use Winograd's method; in 8 bits all engines run the same file, but round in different places.
LIMITS = {"f32": 1e-4, "bf16": 3e-2, "int8": 3e-2}
# Of other engines in 8 bits: without VNNI, OpenVINO's kernels saturate sums of two products at 16 bits. Their time counts all the same.
SATURATING = 1e-1
# Detections of a score of at least 0.3: the nearest one of the same class in the other engine.
SCORES = {"f32": 0.02, "bf16": 0.05, "int8": 0.05}
OVERLAP = 0.9
SURE = 0.3
# Of the models of this repository: 20 classes and the background.
OUTPUTS = 21


def compare(part, precision, reference, out, ours):
    """What was compared and how far it is apart; raises if that is too far."""
    if part == "frame":
        return frame(precision, reference, out, ours)
    a, b = files.read_outputs(part, reference), files.read_outputs(part, out)
    apart = {}
    for name, want in a.items():
        got = b[name]
        if got.size != want.size:
            raise SystemExit(f"{out.name}: {name} has {got.size} numbers instead of {want.size}")
        apart[name] = float(np.sqrt(np.mean((got - want) ** 2) / np.mean(want ** 2)))
    worst = max(apart, key=apart.get)
    limit = LIMITS[precision] if ours or precision != "int8" else SATURATING
    if not apart[worst] <= limit:
        raise SystemExit(f"{out.name}: {worst} is {apart[worst]:.2g} away from onnxruntime's, more than {limit}")
    return f"{worst} within {apart[worst]:.1e}"


def frame(precision, reference, out, ours):
    want, got = detections(reference), read(out / "detections.json") if ours else detections(out)
    sure = [d for d in want if d["score"] >= SURE]
    if not sure:
        raise SystemExit("nothing was found in the picture, so nothing can be compared")
    score, overlap = 0.0, 1.0
    for d in sure:
        same = [g for g in got if g["class_id"] == d["class_id"]]
        best = max(same, key=lambda g: iou(g["box"], d["box"]), default=None)
        if best is None:
            raise SystemExit(f"{out.name}: a detection of class {d['class_id']}, score {d['score']:.2f}, is missing")
        score, overlap = max(score, abs(best["score"] - d["score"])), min(overlap, iou(best["box"], d["box"]))
    if score > SCORES[precision] or overlap < OVERLAP:
        raise SystemExit(f"{out.name}: scores {score:.3f} apart, boxes overlap {overlap:.3f}")
    return f"{len(sure)} detections, scores within {score:.1e}, overlap {overlap:.3f}"


def read(path):
    return json.loads(path.read_text())["detections"]


def iou(a, b):
    w, h = (min(a[i + 2], b[i + 2]) - max(a[i], b[i]) for i in (0, 1))
    area = lambda r: (r[2] - r[0]) * (r[3] - r[1])
    return max(w, 0) * max(h, 0) / (area(a) + area(b) - max(w, 0) * max(h, 0))


def detections(out):
    """Of probabilities and deltas: decoded, suppressed per class."""
    t = files.read_outputs("frame", out)
    rois = t["rois"].reshape(-1, 5)[:, 1:]
    prob = t["cls_prob"].reshape(-1, OUTPUTS)
    deltas = t["bbox_pred"].reshape(len(prob), -1, 4) * np.array([0.1, 0.1, 0.2, 0.2], np.float32)
    rois = rois[:len(prob)]
    w, h = rois[:, 2] - rois[:, 0] + 1, rois[:, 3] - rois[:, 1] + 1
    x, y = rois[:, 0] + 0.5 * w, rois[:, 1] + 0.5 * h
    found = []
    for c in range(1, prob.shape[1]):
        d = deltas[:, c]
        cx, cy, dw, dh = d[:, 0] * w + x, d[:, 1] * h + y, 0.5 * np.exp(d[:, 2]) * w, 0.5 * np.exp(d[:, 3]) * h
        boxes = np.stack([np.clip(cx - dw, 0, files.WIDTH - 1), np.clip(cy - dh, 0, files.HEIGHT - 1),
                          np.clip(cx + dw, 0, files.WIDTH - 1) + 1, np.clip(cy + dh, 0, files.HEIGHT - 1) + 1], 1)
        kept = []
        for i in np.argsort(-prob[:, c]):
            if prob[i, c] <= 0.05:
                break
            if all(iou(boxes[i], boxes[k]) <= 0.3 for k in kept):
                kept.append(i)
        found += [{"class_id": c, "score": float(prob[i, c]), "box": boxes[i].tolist()} for i in kept]
    return found
