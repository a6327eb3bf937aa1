"""Made-up evaluations for the tests of the report: folders as `edmf evaluate` leaves them, without its minutes."""

import json

import numpy as np

from edmf_jax.images import write_image
from edmf_jax.pairs import Record, Scene
from edmf_jax.scores import Scores

METRICS = [{"name": "SSIM", "better": "higher", "unit": ""}, {"name": "Qabf", "better": "higher", "unit": ""},
           {"name": "PSNR", "better": "higher", "unit": "dB"}, {"name": "ΔE2000_truth", "better": "lower", "unit": ""}]


class FakePairs:
    """Scenes in memory, where `open_sources` gives a TFDS split."""

    dataset, split, data_bytes = "image_pairs/made-0", "test", 1

    def __init__(self, scenes):
        self.scenes = scenes
        self.ids = list(scenes)

    def records(self):
        yield from (Record(name, {}) for name in self.scenes)

    def decode(self, record):
        return self.scenes[record.id]


def make_scene(name, height=300, width=420, color=True, truth=False, seed=0):
    """Stripes, sharp on the left half in A and on the right in B."""
    rng = np.random.default_rng([seed, *name.encode()])
    sharp = rng.integers(40, 216, (height, width, 3) if color else (height, width), np.uint8)
    flat = np.full_like(sharp, int(sharp.mean()))
    left = (np.arange(width) < width // 2).reshape(1, width, *[1] * color)
    a, b = np.where(left, sharp, flat), np.where(left, flat, sharp)
    return Scene(name, a, b, sharp if truth else None)


def make_evaluation(folder, methods, scenes, *, metrics=METRICS, values=None, pictures=True, **fields):
    """Writes W/evaluation.json, scores and pictures; the method's number shifts scores and grey levels.

    Args:
      values: (method's place, pair's place, metric's name) → score.
    """
    def shifted(method, pair, metric):
        return 0.5 + 0.1 * method + 0.01 * ((7 * pair + 3 * method * pair) % 11)

    entries = [{"name": name, "slug": f"method-{k}", "spec": name, "missing": []} for k, name in enumerate(methods)]
    record = {"dataset": "image_pairs/made-0", "split": "test", "data_bytes": 1, "gray": False, "tiling": "whole",
              "store": "png", "count": len(scenes), "ids": list(scenes), "methods": entries, "metrics": metrics,
              "versions": {"python": "3.11.0", "edmf-jax": "0.1.0"},
              "commands": [f"edmf evaluate --dataset image_pairs --method {methods[0]!r}"],
              "opened": {"source": None, "patterns": None, "data_dir": None}, **fields}
    folder.mkdir(parents=True, exist_ok=True)
    for k, entry in enumerate(entries):
        book = Scores(folder / entry["slug"], [metric["name"] for metric in metrics])
        for i, (name, scene) in enumerate(scenes.items()):
            book.add(name, {m["name"]: (values or shifted)(k, i, m["name"]) for m in metrics})
            if pictures:
                fused = np.clip((scene.a.astype(int) + scene.b) // 2 + 10 * k, 0, 255).astype(np.uint8)
                write_image(folder / entry["slug"] / "fused" / f"{name}.png", fused)
    (folder / "evaluation.json").write_text(json.dumps(record), encoding="utf-8")
    return record
