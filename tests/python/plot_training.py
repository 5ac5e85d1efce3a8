"""Plots the losses of training logs (JSON lines of `edge-rcnn train`) into one picture.

    python tests/python/plot_training.py OUT.png NAME=LOG.jsonl [NAME=LOG.jsonl …]

Needs matplotlib (any recent version).
"""

import json
import sys

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt


def smooth(values, n=9):
    out = []
    for i in range(len(values)):
        window = values[max(0, i - n // 2) : i + n // 2 + 1]
        out.append(sum(window) / len(window))
    return out


logs = [arg.split("=", 1) for arg in sys.argv[2:]]
figure, axes = plt.subplots(1, len(logs), figsize=(6 * len(logs), 4), squeeze=False)
for axis, (name, path) in zip(axes[0], logs):
    records = [json.loads(line) for line in open(path)]
    for key in ["loss", "top1", "rpn_class", "rpn_box", "class", "box"]:
        points = [(r["iter"], r[key]) for r in records if key in r]
        if points:
            x, y = zip(*points)
            axis.plot(x, smooth(y), label=key)
    for key in ["val_top1"]:
        points = [(r["iter"], r[key]) for r in records if key in r]
        if points:
            axis.plot(*zip(*points), "o", label=key)
    axis.set_title(name)
    axis.set_xlabel("iteration")
    axis.grid(alpha=0.3)
    axis.legend()
figure.tight_layout()
figure.savefig(sys.argv[1], dpi=80)
