"""The dated result file as a table and as pictures."""

import json

OURS = "edge-rcnn"
TITLES = {"trunk": "Trunk and RPN, 600×1000", "head": "Head, 300 RoIs, SVD 1024/256", "frame": "Whole frame, built-in model"}


def write(path):
    known = json.loads(path.read_text())
    path.with_suffix(".md").write_text(markdown(known, path))
    plot(known, path)


def groups(known):
    """Runs that differ in threads only, together: (part, network) → threads → run."""
    out = {}
    for run in sorted(known["runs"], key=lambda r: (list(TITLES).index(r["part"].split("-")[0]), r["part"], r["network"], r["threads"])):
        out.setdefault((run["part"], run["network"]), {})[run["threads"]] = run
    return out


def best_peer(run):
    return min((row["median_ms"], name) for name, row in run["engines"].items() if name != OURS)


def markdown(known, path):
    m = known["machine"]
    lines = [
        f"# Engines in turns, {path.stem}", "",
        f"{m['cpu']} (family/model {m['family_model']}), {m['cores']} cores, {', '.join(m['features'])}; Linux {m['kernel']}; Python {m['python']}.",
        "Medians in milliseconds, the fastest run in brackets; a round is one run of each engine. The ratio is our median over the fastest peer's: under 1 is faster.",
        "Made by `benches/peers/peers.py`; what is compared how stands in [the README](../README.md).", "",
    ]
    lines += [known["note"], ""] if "note" in known else []
    for (part, network), runs in groups(known).items():
        kind, precision = part.split("-")
        threads = sorted(runs)
        lines += [f"## {TITLES[kind]}, {precision}, `{network}`", ""]
        heads = " | ".join(f"{t} thread{'s' * (t > 1)}" for t in threads)
        lines += [f"| engine | {heads} | agrees |", "|---|" + "---|" * (len(threads) + 1)]
        engines = sorted({e for r in runs.values() for e in r["engines"]},
                         key=lambda e: (e != OURS, runs[threads[-1]]["engines"].get(e, {"median_ms": 1e9})["median_ms"]))
        for engine in engines:
            rows = [runs[t]["engines"].get(engine) for t in threads]
            row = next(r for r in rows if r)
            name = f"**{engine}** ({row['kernels']})" if engine == OURS else f"{engine} {row.get('version', '')}".strip()
            cells = " | ".join("–" if r is None else f"{r['median_ms']:.1f} ({r['fastest_ms']:.1f})" for r in rows)
            lines.append(f"| {name} | {cells} | {row['agreement']} |")
        ratios = []
        for t in threads:
            if OURS in runs[t]["engines"]:
                ms, name = best_peer(runs[t])
                ratios.append(f"{runs[t]['engines'][OURS]['median_ms'] / ms:.2f} ({name})")
            else:
                ratios.append("–")
        lines.append(f"| ratio to the fastest peer | {' | '.join(ratios)} | |")
        detail = "; ".join(f"{t} thread{'s' * (t > 1)}: {runs[t]['rounds']} rounds, {runs[t]['at']}, commit {runs[t]['commit']}" for t in threads)
        lines += ["", detail, ""]
    return "\n".join(lines)


def plot(known, path):
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    for kind, title in TITLES.items():
        panels = [(key, runs) for key, runs in groups(known).items() if key[0].startswith(kind)]
        if not panels:
            continue
        figure, axes = plt.subplots(1, len(panels), figsize=(3.6 * len(panels), 3.4), squeeze=False)
        for axis, ((part, network), runs) in zip(axes[0], panels):
            threads = max(runs)
            rows = sorted(runs[threads]["engines"].items(), key=lambda r: -r[1]["median_ms"])
            names, times = [name for name, _ in rows], [row["median_ms"] for _, row in rows]
            bars = axis.barh(names, times, color=["#d1495b" if name == OURS else "#8d99ae" for name in names])
            axis.bar_label(bars, [f"{t:.1f}" for t in times], padding=2, fontsize=8)
            axis.set_title(f"{part.split('-')[1]}, {network}, {threads} threads", fontsize=9)
            axis.set_xlim(0, 1.18 * max(times))
            axis.set_xlabel("ms", fontsize=8)
            axis.tick_params(labelsize=8)
            axis.spines[["top", "right"]].set_visible(False)
        figure.suptitle(title, fontsize=10)
        figure.tight_layout()
        figure.savefig(path.with_name(f"{path.stem}-{kind}.svg"))
        plt.close(figure)
