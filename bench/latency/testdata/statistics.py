"""Golden statistics, by numpy alone.

    python bench/latency/testdata/statistics.py > bench/latency/testdata/statistics.json

Made with Python 3.11.7 and numpy 2.4.6. The samples and the resampling
indices are stored with the results, so that the check shares no generator.
"""
import json
import numpy as np

rng = np.random.default_rng(20260206)
cases = []
for n, resamples in [(2, 50), (10, 400), (11, 400), (100, 200)]:
    drift = np.cumsum(rng.normal(0, 2, n))            # hits both models of a round
    dense = np.round(1000 + drift + rng.gamma(2, 8, n), 3)
    model = np.round(620 + 0.6 * drift + rng.gamma(2, 6, n), 3)
    index = rng.integers(0, n, (resamples, n))
    ratios = np.median(dense[index], axis=1) / np.median(model[index], axis=1)
    lo, hi = np.percentile(ratios, [2.5, 97.5])
    allowed = [p for p in (25, 75, 90, 95, 99) if n * min(p, 100 - p) >= 100]
    cases.append({
        "dense": dense.tolist(),
        "model": model.tolist(),
        "median": float(np.median(dense)),
        "mean": float(np.mean(dense)),
        "sd": float(np.std(dense, ddof=1)),
        "percentiles": {f"p{p}": float(np.percentile(dense, p)) for p in allowed},
        "index": index.tolist(),
        "speedup": float(np.median(dense) / np.median(model)),
        "lo": float(lo),
        "hi": float(hi),
    })
print(json.dumps({"numpy": np.__version__, "cases": cases}, separators=(",", ":")))
