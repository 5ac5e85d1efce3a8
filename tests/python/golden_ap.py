"""Golden numbers for average precision: writes tests/golden/ap_coco.json and ap_voc.json.

COCO: pycocotools on seeded random pictures with crowds, ties and more than 100 detections of a class in one picture.
VOC: a plain restatement of the devkit's formula, on pictures with difficult objects.

    python tests/python/golden_ap.py        # versions: tests/python/requirements.txt
"""

import contextlib
import copy
import io
import json
import os
import tempfile
from pathlib import Path

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

GOLDEN = Path(__file__).resolve().parents[1] / "golden"
CATEGORIES = [(3, "car"), (17, "cat"), (44, "bottle"), (90, "toothbrush")]  # numbers with gaps; no toothbrush occurs
SIZES = [(6, 30), (25, 110), (80, 300)]  # sides that reach into all three area ranges


def random_box(rng, step):
    """x, y, w, h on a grid of `step` inside 640 by 480."""
    low, high = SIZES[rng.integers(3)]
    w, h = rng.uniform(low, high, 2)
    x, y = rng.uniform(0, 640 - w), rng.uniform(0, 480 - h)
    return [float(round(v / step) * step) for v in (x, y, w, h)]


def near(rng, box, step):
    """A box near another, from almost equal to hardly touching."""
    spread = rng.choice([0.02, 0.08, 0.2])
    x, y, w, h = box
    shift = rng.normal(0, spread, 4) * [w, h, w, h]
    moved = [max(0, x + shift[0]), max(0, y + shift[1]), max(2, w + shift[2]), max(2, h + shift[3])]
    return [float(round(v / step) * step) for v in moved]


def score(rng):
    """Two decimals, so that ties are common."""
    return round(float(rng.beta(2, 2)), 2)


def coco():
    rng = np.random.default_rng(7)
    images = [{"id": int(i), "file_name": f"{i}.jpg", "width": 640, "height": 480} for i in rng.permutation(30) * 7 + 1]
    annotations, results = [], []
    for image in images:
        for _ in range(rng.integers(0, 7)):
            box = random_box(rng, 0.25)
            category = CATEGORIES[rng.integers(3)][0]
            crowd = int(rng.random() < 0.12)
            area = round(box[2] * box[3] * float(rng.uniform(0.5, 1.0)), 2)
            annotations.append({"id": len(annotations) + 1, "image_id": image["id"], "category_id": category,
                                "bbox": box, "area": area, "iscrowd": crowd})
            for _ in range(rng.integers(0, 4)):
                label = category if rng.random() < 0.9 else CATEGORIES[rng.integers(4)][0]
                results.append({"image_id": image["id"], "category_id": label, "bbox": near(rng, box, 0.25),
                                "score": score(rng)})
        for _ in range(rng.integers(0, 4)):
            results.append({"image_id": image["id"], "category_id": CATEGORIES[rng.integers(4)][0],
                            "bbox": random_box(rng, 0.25), "score": score(rng)})
    # More than 100 detections of one class in one picture: the tail is not looked at.
    crowded = next(a for a in annotations if a["category_id"] == 3 and not a["iscrowd"])
    for _ in range(115):
        results.append({"image_id": crowded["image_id"], "category_id": 3, "bbox": near(rng, crowded["bbox"], 0.25),
                        "score": score(rng)})
    instances = {"images": images, "annotations": annotations,
                 "categories": [{"id": i, "name": n} for i, n in CATEGORIES]}

    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        path = os.path.join(folder, "instances.json")
        Path(path).write_text(json.dumps(instances))
        truth = COCO(path)
        run = COCOeval(truth, truth.loadRes(copy.deepcopy(results)), "bbox")
        run.evaluate()
        run.accumulate()
        run.summarize()
    names = ["AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR100", "ARs", "ARm", "ARl"]
    precision = run.eval["precision"]  # threshold, recall, class, area, count
    per_class = {}
    for k, (_, name) in enumerate(CATEGORIES):
        values = precision[:, :, k, 0, 2]
        if (values > -1).any():
            per_class[name] = float(values[values > -1].mean())
    expected = {"summary": dict(zip(names, map(float, run.stats))), "ap": per_class}
    return {"instances": instances, "results": results, "expected": expected}


def voc_curve(pictures, found, threshold=0.5):
    """Recall and precision. pictures: id -> [(box, difficult)]; found: [(id, score, box)]; inclusive corners."""
    positives = sum(not difficult for objects in pictures.values() for _, difficult in objects)
    taken = {i: [False] * len(objects) for i, objects in pictures.items()}
    right, wrong = np.zeros(len(found)), np.zeros(len(found))
    for n, k in enumerate(np.argsort([-s for _, s, _ in found], kind="stable")):
        image, _, d = found[k]
        overlaps = []
        for g, _ in pictures[image]:
            w = max(min(d[2], g[2]) - max(d[0], g[0]) + 1.0, 0.0)
            h = max(min(d[3], g[3]) - max(d[1], g[1]) + 1.0, 0.0)
            union = (d[2] - d[0] + 1.0) * (d[3] - d[1] + 1.0) + (g[2] - g[0] + 1.0) * (g[3] - g[1] + 1.0) - w * h
            overlaps.append(w * h / union)
        best = int(np.argmax(overlaps)) if overlaps else -1
        if best < 0 or not overlaps[best] > threshold:
            wrong[n] = 1
        elif pictures[image][best][1]:
            pass
        elif taken[image][best]:
            wrong[n] = 1
        else:
            taken[image][best] = True
            right[n] = 1
    right, wrong = np.cumsum(right), np.cumsum(wrong)
    return right / positives, right / np.maximum(right + wrong, np.finfo(np.float64).eps)


def ap_11_point(recall, precision):
    levels = np.arange(0.0, 1.1, 0.1)
    return float(sum(precision[recall >= t].max() if (recall >= t).any() else 0.0 for t in levels) / 11.0)


def ap_all_points(recall, precision):
    recall = np.concatenate([[0.0], recall, [1.0]])
    precision = np.concatenate([[0.0], precision, [0.0]])
    precision = np.maximum.accumulate(precision[::-1])[::-1]
    steps = np.nonzero(recall[1:] != recall[:-1])[0]
    return float(np.sum((recall[steps + 1] - recall[steps]) * precision[steps + 1]))


def voc():
    rng = np.random.default_rng(11)
    classes = ["bird", "dog", "sofa"]
    images = [f"{n:06d}" for n in rng.permutation(40)]
    objects = {i: [] for i in images}
    found = {c: [] for c in classes}

    def corners(box):  # 1-based inclusive, as files have it
        x, y, w, h = box
        return [x + 1, y + 1, x + max(w, 1), y + max(h, 1)]

    for image in images:
        for _ in range(rng.integers(0, 5)):
            box = random_box(rng, 1.0)
            name = classes[rng.integers(3)]
            difficult = bool(rng.random() < 0.2)
            objects[image].append({"name": name, "difficult": difficult, "box": [int(v) for v in corners(box)]})
            for _ in range(rng.integers(0, 4)):
                found[name].append([image, score(rng), *corners(near(rng, box, 0.125))])
        for _ in range(rng.integers(0, 3)):
            found[classes[rng.integers(3)]].append([image, score(rng), *corners(random_box(rng, 0.125))])

    expected = {"voc07": {}, "voc": {}}
    for name in classes:
        # Files list a class picture by picture; ties are broken in that order.
        found[name].sort(key=lambda d: images.index(d[0]))
        pictures = {i: [(o["box"], o["difficult"]) for o in objects[i] if o["name"] == name] for i in images}
        curve = voc_curve(pictures, [(d[0], d[1], d[2:]) for d in found[name]])
        expected["voc07"][name] = ap_11_point(*curve)
        expected["voc"][name] = ap_all_points(*curve)
    return {"classes": classes, "images": [{"id": i, "objects": objects[i]} for i in images], "found": found,
            "expected": expected}


def rows(value):
    """JSON with one line for each entry of the big lists: small, and still readable in a diff."""
    if isinstance(value, dict):
        return "{" + ",\n".join(f"{json.dumps(k)}: {rows(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list) and len(value) > 8:
        return "[\n" + ",\n".join(json.dumps(v, separators=(",", ":")) for v in value) + "]"
    return json.dumps(value)


for name, golden in (("ap_coco", coco()), ("ap_voc", voc())):
    (GOLDEN / f"{name}.json").write_text(rows(golden) + "\n")
