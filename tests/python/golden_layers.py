"""Golden numbers for the two layers whose rules differ between frameworks: writes tests/golden/layers.json.

Caffe's max pooling (output length rounded up, a last window that would start in the padding dropped, padding that never
wins) and Caffe's two LRNs, restated as plain loops over the formulas of its documentation.

    python tests/python/golden_layers.py        # versions: tests/python/requirements.txt
"""

import json
import math
from pathlib import Path

import numpy as np

GOLDEN = Path(__file__).resolve().parents[1] / "golden"
SIZES = [(5, 6), (7, 8), (6, 9), (4, 11)]
POOLS = [(3, 2, 1), (3, 2, 0), (2, 2, 0)]  # kernel, stride, pad: ZF and CaffeNet, VGG_CNN_M, VGG16
# region, size, alpha, beta, k; the strengths are far above the real ones, so that the norm shows in every digit
LRNS = [("within", 3, 0.7, 0.75, 1.0), ("within", 5, 0.3, 0.5, 1.0), ("across", 5, 0.9, 0.75, 2.0)]


def pooled_length(n, kernel, stride, pad):
    length = math.ceil((n + 2 * pad - kernel) / stride) + 1
    if pad > 0 and (length - 1) * stride >= n + pad:
        length -= 1
    return length


def max_pool(x, kernel, stride, pad):
    channels, rows, cols = x.shape
    out = np.zeros((channels, pooled_length(rows, kernel, stride, pad), pooled_length(cols, kernel, stride, pad)))
    for c, r, q in np.ndindex(out.shape):
        top, left = r * stride - pad, q * stride - pad
        window = x[c, max(top, 0) : min(top + kernel, rows), max(left, 0) : min(left + kernel, cols)]
        out[c, r, q] = window.max()
    return out


def lrn(x, region, size, alpha, beta, k):
    channels, rows, cols = x.shape
    half = (size - 1) // 2
    out = np.zeros_like(x)
    for c, r, q in np.ndindex(x.shape):
        total = 0.0
        if region == "across":
            for i in range(c - half, c - half + size):
                total += x[i, r, q] ** 2 if 0 <= i < channels else 0.0
            n = size
        else:
            for i in range(r - half, r - half + size):
                for j in range(q - half, q - half + size):
                    total += x[c, i, j] ** 2 if 0 <= i < rows and 0 <= j < cols else 0.0
            n = size * size
        out[c, r, q] = x[c, r, q] / (k + alpha / n * total) ** beta
    return out


def numbers(x):
    return [float(f"{v:.7g}") for v in x.ravel()]


def main():
    rng = np.random.default_rng(7)
    cases = []
    for rows, cols in SIZES:
        # Mostly negative, so that padding which counted as zero would win.
        x = np.round(rng.normal(-1.0, 1.5, (3, rows, cols)), 3)
        for kernel, stride, pad in POOLS:
            y = max_pool(x, kernel, stride, pad)
            layer = {"kernel": kernel, "stride": stride, "pad": pad}
            cases.append({"pool": layer, "shape": x.shape, "input": numbers(x), "out": y.shape, "output": numbers(y)})
    for region, size, alpha, beta, k in LRNS:
        x = np.round(rng.normal(0.0, 2.0, (3, 6, 7)), 3)
        y = lrn(x, region, size, alpha, beta, k)
        layer = {"region": region, "size": size, "alpha": alpha, "beta": beta, "k": k}
        cases.append({"lrn": layer, "shape": x.shape, "input": numbers(x), "out": y.shape, "output": numbers(y)})
    lines = ",\n".join(json.dumps(c) for c in cases)
    text = f'{{"made_with": "numpy {np.__version__}", "cases": [\n{lines}\n]}}\n'
    (GOLDEN / "layers.json").write_text(text)


if __name__ == "__main__":
    main()
