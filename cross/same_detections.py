"""same_detections.py int8|f32 WANT GOT: whether two outputs of `edge-rcnn detect` hold the same objects.

In 8 bits each digit is the same. Sums of f32 in another order differ in their last bits: there scores may differ by 0.002,
corners by half a pixel.
"""

import json
import sys

precision, *paths = sys.argv[1:]
want, got = ([json.loads(line)["detections"] for line in open(path)] for path in paths)
most_score, most_corner = {"int8": (0, 0), "f32": (0.002, 0.5)}[precision]
if len(want) != len(got) or not any(want):
    sys.exit(f"{len(got)} pictures instead of {len(want)}, or nothing found on any")

worst_score, worst_corner, count = 0.0, 0.0, 0
for a, b in zip(want, got):
    if sorted(d["class_id"] for d in a) != sorted(d["class_id"] for d in b):
        sys.exit(f"found {[d['label'] for d in b]} instead of {[d['label'] for d in a]}")
    left = list(b)
    for d in a:
        distance = lambda e: max(abs(x - y) for x, y in zip(d["box"], e["box"]))
        near = min((e for e in left if e["class_id"] == d["class_id"]), key=distance)
        left.remove(near)
        worst_corner = max(worst_corner, distance(near))
        worst_score = max(worst_score, abs(d["score"] - near["score"]))
        count += 1
within = "digit by digit" if precision == "int8" else f"scores within {worst_score:.4f}, corners within {worst_corner:.2f} pixels"
if worst_score > most_score or worst_corner > most_corner:
    sys.exit(f"scores differ by up to {worst_score:.4f}, corners by {worst_corner:.2f} pixels")
print(f"{count} objects on {len(want)} pictures as here, {within}")
