"""Golden numbers for the trainer: losses, target assignment and an SGD run, restated in PyTorch.

Writes tests/golden/train.json. Run with the packages of tests/python/requirements.txt:

    python tests/python/golden_train.py
"""

import json
import pathlib

import numpy as np
import torch

rng = np.random.default_rng(20)


def iou_table(a, b):
    """Overlap of every box of a with every box of b; corners are inclusive pixels."""
    iw = np.minimum(a[:, None, 2], b[None, :, 2]) - np.maximum(a[:, None, 0], b[None, :, 0]) + 1
    ih = np.minimum(a[:, None, 3], b[None, :, 3]) - np.maximum(a[:, None, 1], b[None, :, 1]) + 1
    inter = np.clip(iw, 0, None) * np.clip(ih, 0, None)
    area = lambda x: (x[:, 2] - x[:, 0] + 1) * (x[:, 3] - x[:, 1] + 1)
    return inter / (area(a)[:, None] + area(b)[None, :] - inter)


def encode(src, dst):
    sw, sh = src[:, 2] - src[:, 0] + 1, src[:, 3] - src[:, 1] + 1
    dw, dh = dst[:, 2] - dst[:, 0] + 1, dst[:, 3] - dst[:, 1] + 1
    sx, sy = src[:, 0] + 0.5 * sw, src[:, 1] + 0.5 * sh
    dx, dy = dst[:, 0] + 0.5 * dw, dst[:, 1] + 0.5 * dh
    return np.stack([(dx - sx) / sw, (dy - sy) / sh, np.log(dw / sw), np.log(dh / sh)], 1)


def boxes(n, width, height, low, high):
    w, h = rng.integers(low, high, n), rng.integers(low, high, n)
    x, y = rng.integers(-20, width - 20, n), rng.integers(-20, height - 20, n)
    return np.stack([x, y, x + w - 1, y + h - 1], 1).astype(np.float64)


def rpn_case(width, height, anchors, objects):
    inside = np.where((anchors[:, 0] >= 0) & (anchors[:, 1] >= 0) & (anchors[:, 2] < width) & (anchors[:, 3] < height))[0]
    table = iou_table(anchors[inside], objects)
    label = np.full(len(inside), -1)
    label[table.max(1) < 0.3] = 0
    best = table.max(0)
    label[np.where((table == best[None]) & (best[None] > 0))[0]] = 1
    label[table.max(1) >= 0.7] = 1
    owner = table.argmax(1)
    positive = inside[label == 1]
    return {
        "width": width,
        "height": height,
        "anchors": anchors.tolist(),
        "objects": objects.tolist(),
        "positive": positive.tolist(),
        "negative": inside[label == 0].tolist(),
        "deltas": encode(anchors[positive], objects[owner[label == 1]]).tolist(),
    }


def head_case(proposals, objects, classes):
    rois = np.concatenate([proposals, objects])
    table = iou_table(rois, objects)
    top, owner = table.max(1), table.argmax(1)
    fg, bg = np.where(top >= 0.5)[0], np.where((top < 0.5) & (top >= 0.1))[0]
    return {
        "proposals": proposals.tolist(),
        "objects": objects.tolist(),
        "object_classes": classes.tolist(),
        "rois": rois[np.concatenate([fg, bg])].tolist(),
        "classes": np.concatenate([classes[owner[fg]], np.zeros(len(bg), int)]).tolist(),
        "deltas": (encode(rois[fg], objects[owner[fg]]) / [0.1, 0.1, 0.2, 0.2]).tolist(),
    }


def smooth_l1(x, sigma):
    s2 = sigma * sigma
    return torch.where(x.abs() < 1 / s2, 0.5 * s2 * x * x, x.abs() - 0.5 / s2)


def loss_case():
    t = lambda *s: torch.tensor(rng.standard_normal(s), requires_grad=True)
    scores, deltas, targets = t(40, 2), t(9, 4), t(9, 4).detach()
    label = torch.tensor([1] * 9 + [0] * 31)
    rpn = [torch.nn.functional.cross_entropy(scores, label), smooth_l1(deltas - targets, 3.0).sum() / 40]
    sum(rpn).backward()
    head_scores, head_deltas, head_targets = t(12, 5), t(12, 20), t(4, 4).detach()
    classes = torch.tensor([3, 1, 4, 1] + [0] * 8)
    own = torch.stack([head_deltas[i, 4 * c : 4 * c + 4] for i, c in enumerate(classes[:4].tolist())])
    head = [torch.nn.functional.cross_entropy(head_scores, classes), smooth_l1(own - head_targets, 1.0).sum() / 12]
    sum(head).backward()
    flat = lambda x: x.detach().reshape(-1).tolist()
    return {
        "rpn": {
            "scores": flat(scores), "deltas": flat(deltas), "targets": flat(targets), "losses": [v.item() for v in rpn],
            "score_gradient": flat(scores.grad), "delta_gradient": flat(deltas.grad),
        },
        "head": {
            "scores": flat(head_scores), "deltas": flat(head_deltas), "targets": flat(head_targets),
            "classes": classes.tolist(), "losses": [v.item() for v in head],
            "score_gradient": flat(head_scores.grad), "delta_gradient": flat(head_deltas.grad),
        },
    }


anchors = boxes(120, 400, 300, 40, 160)
objects = np.array([[30, 40, 129, 159], [200, 100, 319, 199], [250, 20, 349, 119]], float)
near = np.concatenate([objects + rng.integers(-j, j + 1, (3, 4)) for j in (3, 6, 9, 12, 25, 40)])
golden = {
    "torch": torch.__version__,
    "rpn_targets": rpn_case(400, 300, np.concatenate([anchors, near]), objects),
    "head_targets": head_case(near, objects, np.array([7, 15, 2])),
    "losses": loss_case(),
}
out = pathlib.Path(__file__).parent.parent / "golden" / "train.json"
out.write_text(json.dumps(golden) + "\n")
print(f"{out}: {len(golden['rpn_targets']['positive'])} positive, {len(golden['rpn_targets']['negative'])} negative anchors, "
      f"{len(golden['head_targets']['rois'])} RoIs")
