"""Draws accuracy and time against rank, and prints the table.

    edge-rcnn compress --model models/zf-voc --target-drop 0.3 --data voc:VOC2007 --split val --limit 200 --threads 2 \
        --json --out OUT | grep '^{' > benches/svd/measured.json
    python benches/svd/figure.py

Needs matplotlib (benches/peers/requirements.txt).
"""

import json
import pathlib

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402

HERE = pathlib.Path(__file__).resolve().parent


def name(row):
    if row["whole"]:
        return "whole"
    return "as shipped" if row["ranks"] is None else "{}/{}".format(*row["ranks"])


def main():
    measured = json.loads((HERE / "measured.json").read_text())
    rows = sorted(measured["rows"], key=lambda r: -r["mega_multiply_adds"])
    now = next(r for r in rows if r["ranks"] is None and not r["whole"])
    table = ["| fc6/fc7 | M multiply-adds a RoI | head ms | mAP | lost |", "|---|---|---|---|---|"]
    for r in rows:
        lost = (now["mAP"] - r["mAP"]) * 100
        table.append(f"| {name(r)} | {r['mega_multiply_adds']:.1f} | {r['head_ms']:.1f} | {r['mAP'] * 100:.2f} | {lost:+.2f} |")
    print("\n".join(table))

    figure, axis = plt.subplots(figsize=(6, 3.6))
    axis.plot([r["head_ms"] for r in rows], [r["mAP"] * 100 for r in rows], "o", color="#2e4057")
    for r in rows:
        axis.annotate(name(r), (r["head_ms"], r["mAP"] * 100), xytext=(4, 4), textcoords="offset points", fontsize=8)
    axis.axhline(now["mAP"] * 100 - 0.3, color="#d1495b", linewidth=0.8, linestyle="--")
    axis.set_xlabel("head, 300 RoIs, milliseconds")
    axis.set_ylabel("mAP, VOC07 11-point")
    axis.set_title(f"Ranks of fc6/fc7, {measured['pictures']} pictures; dashed: 0.3 points below", fontsize=9)
    axis.set_xscale("log")
    axis.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    figure.savefig(HERE / "ranks.svg")


if __name__ == "__main__":
    main()
