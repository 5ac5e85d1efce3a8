"""Golden numbers for the truncated SVD of `compress`: writes tests/golden/svd.json.

The best possible relative error (Frobenius norm) at a rank, from numpy's full SVD of matrices that the Rust test makes
by the same formula: sines of falling strength, plus a little of everything.

    python tests/python/golden_svd.py        # versions: tests/python/requirements.txt
"""

import json
from pathlib import Path

import numpy as np

GOLDEN = Path(__file__).resolve().parents[1] / "golden"
CASES = [(48, 80, (1, 5, 20, 47)), (80, 48, (5, 20)), (600, 700, (8, 30, 100)), (900, 620, (30,))]


def matrix(rows, cols):
    """As `golden_matrix` in src/model/svd.rs, in double precision, rounded once at the end."""
    r, c = np.arange(rows)[:, None], np.arange(cols)[None, :]
    w = 0.01 * np.sin(r * 12.9 + c * 78.2)
    for k in range(min(40, rows, cols)):
        w = w + np.sin((k + 1.3) * (r + 0.7) * 0.37) * np.cos((k + 2.1) * (c + 0.2) * 0.23) / (k + 1.0)
    return w.astype(np.float32).astype(np.float64)


def main():
    cases = []
    for rows, cols, ranks in CASES:
        sigma = np.linalg.svd(matrix(rows, cols), compute_uv=False)
        for rank in ranks:
            error = float(np.sqrt((sigma[rank:] ** 2).sum() / (sigma**2).sum()))
            cases.append({"rows": rows, "cols": cols, "rank": rank, "relative_error": error})
    made_with = f"numpy {np.__version__}"
    (GOLDEN / "svd.json").write_text(json.dumps({"made_with": made_with, "cases": cases}, indent=1) + "\n")


if __name__ == "__main__":
    main()
