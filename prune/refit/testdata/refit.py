"""Makes refit.json: ridge refits of small matrices by numpy's least squares.

    python refit.py

The kept columns W_k get the change V that minimises, over the rows x of X,

    sum |W_r x_r - V x_k|^2 + damping d n |V|^2      d = the mean over the kept of mean(x_k^2)

(W_r, x_r: the removed columns and their inputs), written as ordinary least squares with
sqrt(damping d n) I below X_k. "error" is the share of the squared dense output that is
missing on other rows, before and after.
"""

import json
import pathlib

import numpy as np

HERE = pathlib.Path(__file__).parent


def case(rng, rows, cols, kept, n, damping):
    mix = rng.normal(size=(cols, cols)) / np.sqrt(cols) + 0.3 * np.eye(cols)
    x, held = (np.round(rng.normal(size=(k, cols)) @ mix, 3) for k in (n, n // 2))
    w = np.round(rng.normal(size=(rows, cols)), 3)
    keep = np.sort(rng.choice(cols, kept, replace=False))
    rest = np.setdiff1d(np.arange(cols), keep)
    d = (x[:, keep] ** 2).sum(0).mean()
    a = np.vstack([x[:, keep], np.sqrt(damping * d) * np.eye(kept)])
    b = np.vstack([x[:, rest] @ w[:, rest].T, np.zeros((kept, rows))])
    v = np.linalg.lstsq(a, b, rcond=None)[0].T
    dense = held @ w.T
    before = ((held[:, rest] @ w[:, rest].T) ** 2).sum() / (dense ** 2).sum()
    after = ((dense - held[:, keep] @ (w[:, keep] + v).T) ** 2).sum() / (dense ** 2).sum()
    return {"rows": rows, "keep": keep.tolist(), "damping": damping, "w": w.tolist(), "x": x.tolist(), "held": held.tolist(),
            "delta": v.tolist(), "before": before, "after": after}


def main():
    rng = np.random.default_rng(7)
    cases = [case(rng, 3, 8, 5, 40, 0.01), case(rng, 5, 9, 1, 30, 0.1), case(rng, 2, 6, 5, 12, 1.0), case(rng, 4, 7, 3, 60, 0.001)]
    json.dump({"made_by": f"refit.py, numpy {np.__version__}", "cases": cases}, open(HERE / "refit.json", "w"))


main()
