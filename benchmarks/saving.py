"""The cost of the checkpoint at the end of every epoch, at the size of configs/demo.py and of a larger bank.

    python -m benchmarks.saving EPOCHS FOLDER
    python -m benchmarks.saving bank PATCHES FOLDER [PLANES.npy]

are the processes that measure: one trains, with and without saving; the other saves made-up epochs of a bank of that
many patches of 256² px (330 kB each), from 16 to 9,200 or more.  Both print what they found as JSON.
"""

import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks import startup
from benchmarks.table import Row, left_out, measured
from benchmarks.worker import ROOT

EPOCHS, QUICK_EPOCHS = 5, 3  # of each run; the first one compiles, so it is not counted
BANK_PATCHES, QUICK_BANK_PATCHES = 1536, 128  # 500 and 42 MB
PATCH_PX, REMEMBERED, BANK_EPOCHS = 256, 4, 6
NAMES = {
    "wait": ("edmf-jax: training waits for a save at the epoch's end", "% of the epoch"),
    "ratio": ("edmf-jax: epoch with a save ÷ epoch without", "ratio"),
    "copy": ("edmf-jax: training waits for a save of an epoch's remembered planes", "s/GB"),
    "write": ("edmf-jax: … which are written in the background", "s/GB"),
    "disk": ("edmf-jax: checkpoints on the disk ÷ bank", "ratio"),
}


def rows(repeats: int, *, quick: bool = False) -> list[Row]:
    """The share of an epoch that training waits for its save, and the ratio of epochs with and without saving."""
    if reason := startup.why_not():
        return [left_out(name, unit, reason) for name, unit in NAMES.values()]
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "benchmarks.saving", str(QUICK_EPOCHS if quick else EPOCHS), folder]
        found = _ask(command)
        patches = QUICK_BANK_PATCHES if quick else BANK_PATCHES
        bank = _ask([sys.executable, "-m", "benchmarks.saving", "bank", str(patches), str(Path(folder) / "bank")])
    note = f"configs/demo.py: a state of {found['megabytes']:.0f} MB, an epoch of {found['epoch']:.1f} s"
    return [measured(*NAMES["wait"], found["waits"], note),
            measured(*NAMES["ratio"], found["ratios"], f"{note}; epochs of two runs after each other, in pairs"),
            *(measured(*NAMES[name], bank[name], f"a bank of {bank['megabytes']:.0f} MB, made-up planes")
              for name in ("copy", "write", "disk"))]


def _ask(command: list[str]) -> dict:
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} ended with {done.returncode}:\n{done.stderr[-4000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def main(epochs: int, folder: Path) -> None:
    """Trains twice for the same number of epochs, with and without saving."""
    from benchmarks import process

    process.prepare()
    import jax

    from edmf_jax.training import loop
    from edmf_jax.training.checkpoint import Checkpoints
    from edmf_jax.training.config import load_config
    from edmf_jax.training.train import train

    config = load_config(str(ROOT / "configs" / "demo.py"))
    config.data.data_dir, config.train.epochs = str(folder / "data"), epochs
    save, write, waits, sizes = loop.TrainingLoop._save, Checkpoints.save, [], []

    def timed(self, state, report=None):
        jax.block_until_ready(state)
        sizes.append(sum(x.nbytes for x in jax.tree.leaves(state)))
        began = time.perf_counter()
        state = jax.block_until_ready(save(self, state, report))
        waits.append(time.perf_counter() - began)
        return state

    loop.TrainingLoop._save = timed
    seconds = {}
    for name, method in (("with", write), ("without", lambda *_: None)):
        Checkpoints.save = method
        train(config, folder / name, log=lambda line: None)
        records = [json.loads(line) for line in (folder / name / "metrics.jsonl").read_text().splitlines()]
        seconds[name] = [r["seconds"] for r in records if r.get("event") == "epoch_end"][1:]
    waits = waits[1:epochs]
    whole = [s + w for s, w in zip(seconds["with"], waits, strict=True)]  # an epoch's record is written before its save
    print(json.dumps({
        "waits": [100 * w / s for w, s in zip(waits, whole, strict=True)],
        "ratios": [a / b for a, b in zip(whole, seconds["without"], strict=True)],
        "epoch": statistics.median(whole), "megabytes": sizes[-1] / 1e6}))


def made_up_planes(count: int):
    """Blurred noise with a little noise on top, uint8 `[count, P, P]`: halves in size, as outputs do."""
    import cv2
    import numpy as np

    rng, planes = np.random.default_rng(0), []
    for _ in range(count):
        smooth = cv2.GaussianBlur(rng.normal(0, 900, (PATCH_PX, PATCH_PX)), (0, 0), 6)
        planes.append(np.clip(smooth + 128 + rng.normal(0, 2, smooth.shape), 0, 255).astype(np.uint8))
    return np.stack(planes)


def bank(patches: int, folder: Path, planes=None) -> None:
    """Saves made-up epochs, each sharper than the one before, as `edmf train` does, and restores the last.

    Args:
      patches: of the bank.
      folder: gets the checkpoints.
      planes: uint8 `[n, P, P]`, what the network put out; None: made up.
    """
    import dataclasses

    import jax
    import jax.numpy as jnp
    import numpy as np

    from edmf_jax.core.memory import admit, init_bank
    from edmf_jax.core.model import init_params, make_model
    from edmf_jax.training.checkpoint import BEST_METRIC, Checkpoints
    from edmf_jax.training.state import TrainState

    planes = made_up_planes(32) if planes is None else planes
    params = init_params(make_model(16), jax.random.key(0))
    state = TrainState(jnp.int32(0), params, params, init_bank(patches, REMEMBERED, PATCH_PX))
    fill = jax.jit(lambda images, slot, planes, order, shift: images.at[:, slot].set(planes[order] + shift),
                   donate_argnums=0)
    rng, slot_bytes, found = np.random.default_rng(1), patches * PATCH_PX**2, {"copy": [], "write": [], "disk": []}
    checkpoints = Checkpoints(folder, keep_last=2, keep_best=1)
    for epoch in range(1, BANK_EPOCHS + 1):
        order = rng.integers(0, len(planes), patches)
        images = fill(state.bank.images, state.bank.free, planes, order, np.uint8(epoch))
        filled, _ = admit(dataclasses.replace(state.bank, images=images), epoch, jnp.float32(epoch))
        state = jax.block_until_ready(dataclasses.replace(state, step=jnp.int32(epoch), bank=filled))
        began = time.perf_counter()
        checkpoints.save(epoch, state, {BEST_METRIC: float(epoch)})
        copied = time.perf_counter()
        checkpoints.wait()
        found["copy"].append((copied - began) / slot_bytes * 1e9)
        found["write"].append((time.perf_counter() - copied) / slot_bytes * 1e9)
        disk = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
        found["disk"].append(disk / state.bank.images.nbytes)
    one_device = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    like = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=one_device), state)
    slots, sums = np.asarray(state.bank.slots), np.asarray(state.bank.images[::97, :, ::16, ::16])
    state, megabytes = None, state.bank.images.nbytes / 1e6
    began = time.perf_counter()
    restored = jax.block_until_ready(checkpoints.restore(BANK_EPOCHS, like))
    seconds = time.perf_counter() - began
    assert (np.asarray(restored.bank.images[::97, :, ::16, ::16])[:, slots] == sums[:, slots]).all()
    checkpoints.close()
    # The first save starts threads and compiles; the disk is fullest at the end.
    print(json.dumps({"copy": found["copy"][1:], "write": found["write"][1:], "disk": found["disk"][-1:],
                      "megabytes": megabytes, "restore_seconds": seconds}))


if __name__ == "__main__":
    if sys.argv[1] == "bank":
        import numpy as np

        bank(int(sys.argv[2]), Path(sys.argv[3]), np.load(sys.argv[4]) if len(sys.argv) > 4 else None)
    else:
        main(int(sys.argv[1]), Path(sys.argv[2]))
