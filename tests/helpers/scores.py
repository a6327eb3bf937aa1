"""Made-up scores of an evaluation: each metric of a method is a random number per pair plus the method's shift."""

import numpy as np

IDS = [str(i) for i in range(1, 13)]
METRICS = [{"name": "EN", "better": "higher", "unit": "bit"}, {"name": "PSNR", "better": "higher", "unit": "dB"},
           {"name": "ΔE", "better": "lower", "unit": ""}, {"name": "SD", "better": "none", "unit": ""}]


def make_record(names):
    methods = [{"name": name, "slug": name, "spec": name, "missing": []} for name in names]
    return {"dataset": "edmf/table2", "split": "test", "gray": True, "tiling": "mufusion", "store": "jpeg75",
            "count": len(IDS), "ids": IDS, "methods": methods, "metrics": METRICS}


def make_scores(shifts, seed=0):
    base = np.random.default_rng(seed).normal(0, 0.01, len(IDS))
    return {name: {i: {m["name"]: float(x + shift) for m in METRICS} for i, x in zip(IDS, base)}
            for name, shift in shifts.items()}
