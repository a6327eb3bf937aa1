"""Made-up evaluations for the tests of their report: folders as `edmf evaluate` leaves them, without its minutes."""

import base64
import json
import re

import cv2
import numpy as np

from edmf_jax.data.pairs import Record, Scene
from edmf_jax.evaluation.store import ScoreStore
from edmf_jax.io.images import write_image

METRICS = [{"name": "SSIM", "better": "higher", "unit": ""}, {"name": "Qabf", "better": "higher", "unit": ""},
           {"name": "PSNR", "better": "higher", "unit": "dB"}, {"name": "ΔE2000_truth", "better": "lower", "unit": ""}]


class FakePairs:
    """Scenes in memory instead of the TFDS split that `open_source_pairs` opens."""

    dataset, split, data_bytes = "image_pairs/made-0", "test", 1

    def __init__(self, scenes):
        self.scenes = scenes
        self.ids = list(scenes)

    def records(self):
        yield from (Record(name, {}) for name in self.scenes)

    def decode(self, record):
        return self.scenes[record.id]


def quiet(_):
    """A log that drops its lines."""


def make_scene(name, height=300, width=420, color=True, truth=False, seed=0):
    """Noise, sharp on the left half in A and on the right in B, flat on the other half."""
    rng = np.random.default_rng([seed, *name.encode()])
    sharp = rng.integers(40, 216, (height, width, 3) if color else (height, width), np.uint8)
    flat = np.full_like(sharp, int(sharp.mean()))
    left = (np.arange(width) < width // 2).reshape(1, width, *[1] * color)
    a, b = np.where(left, sharp, flat), np.where(left, flat, sharp)
    return Scene(name, a, b, sharp if truth else None)


def make_evaluation(folder, methods, scenes, *, metrics=METRICS, values=None, pictures=True, **fields):
    """Writes W/evaluation.json, scores and pictures; the method's number shifts scores and gray levels.

    Args:
      values: (method's number, pair's number, metric's name) → score.
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
        scores = ScoreStore(folder / entry["slug"], [metric["name"] for metric in metrics])
        for i, (name, scene) in enumerate(scenes.items()):
            scores.add(name, {m["name"]: (values or shifted)(k, i, m["name"]) for m in metrics})
            if pictures:
                fused = np.clip((scene.a.astype(int) + scene.b) // 2 + 10 * k, 0, 255).astype(np.uint8)
                write_image(folder / entry["slug"] / "fused" / f"{name}.png", fused)
    (folder / "evaluation.json").write_text(json.dumps(record), encoding="utf-8")
    return record


def data_of(page):
    """The data of a page's script."""
    return json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', page)[1])


def pairs_of(page):
    """The records of the pairs (or of the one fusion) that a page shows with pictures."""
    found = re.findall(r'<script type="application/json" class="pair">(.*?)</script>', page)
    return [json.loads(text) for text in found]


def decoded(text):
    """A picture of a page, base64 of WebP, as uint8 RGB."""
    return cv2.cvtColor(cv2.imdecode(np.frombuffer(base64.b64decode(text), np.uint8), cv2.IMREAD_COLOR),
                        cv2.COLOR_BGR2RGB)
