"""How much memory and disk a run will need, compared with what is free, before anything is computed.

    images      the bank lies on the devices; while a checkpoint is written the host holds a copy of one slot
    host        the bank lies in the host's memory; at the beginning and the end there is a copy of it
    snapshots   no bank: the parameters of the best epochs, a few MB

The disk holds the remembered slots once, and one more for each checkpoint.  They are counted as if they did not
compress.
"""

import math
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
import psutil
from jax.sharding import Mesh
from ml_collections import ConfigDict

from edmf_jax.core import memory
from edmf_jax.core.model import init_params, make_model
from edmf_jax.errors import UserError
from edmf_jax.runtime import distributed
from edmf_jax.training.device_data import TrainingSet

# Temporaries of a compiled step per pixel of the batch on a device, at model.width 16 in float32 [bytes]: measured for
# the CPU (8 × 128²), an H200 (48 × 256²) and a TPU v5e (6 × 256²), each ahead of time. bfloat16 takes less.
ACTIVATION_BYTES = {"cpu": 2040, "gpu": 1850, "tpu": 3310}
_WIDTH_POWER = 1.25  # width 32 takes 2.35 times as much as 16 on a CPU
_STATE_COPIES = 3  # parameters and Adam's two moments
KINDS = ("images", "host", "snapshots")


class Amounts(NamedTuple):
    """Bytes: on each device, in the host's memory for one process, on the disk of the work folder."""

    device: float = 0.0
    host: float = 0.0
    disk: float = 0.0


class Room(NamedTuple):
    """What a run needs with one kind of memory, item by item, and what is free.

    Attributes:
      kind: "images", "host" or "snapshots".
      items: name → amounts.
      free: amounts; NaN: unknown.
      shared: whether the devices have no memory of their own but the host's (CPUs).
      devices: number of devices of this process.
    """

    kind: str
    items: dict[str, Amounts]
    free: Amounts
    shared: bool
    devices: int

    @property
    def needed(self) -> Amounts:
        """The sum of all items; with shared memory the devices' part is in the host's."""
        device, host, disk = (sum(amounts[i] for amounts in self.items.values()) for i in range(3))
        return Amounts(0.0, host + device * self.devices, disk) if self.shared else Amounts(device, host, disk)

    def lacking(self) -> list[str]:
        """Which of "device", "host", "disk" is too small, or unknown in the case of a device."""
        return [name for name, needed, free in zip(Amounts._fields, self.needed, self.free)
                if needed and not needed <= free]

    def table(self) -> str:
        """For a person, in GB."""
        columns = ("host and devices", "disk") if self.shared else ("each device", "host", "disk")
        lines = [("room [GB]", *columns)]
        for name, row in [*self.items.items(), ("together", None), ("free", None)]:
            amounts = {"together": self.needed, "free": self.free}.get(name, row)
            if self.shared:
                host = amounts.host + (amounts.device * self.devices if row else 0.0)
                amounts = (host, amounts.disk)
            lines.append((name, *("unknown" if math.isnan(x) else f"{x / 1e9:.1f}" if x else "–" for x in amounts)))
        widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
        return "\n".join("  ".join([line[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(line[1:], widths[1:]))])
                         for line in lines)


def plan(kind: str, config: ConfigDict, training_set: TrainingSet, mesh: Mesh, folder: Path,
         saved: int | None = 0) -> Room:
    """The room for a run with memory of this kind.

    Args:
      kind: one of `KINDS`.
      config, training_set, mesh: of the run.
      folder: the run's, on the disk that gets the checkpoints.
      saved: bytes of remembered planes on the disk already; None: the run writes no checkpoints.
    """
    platform, local = mesh.local_devices[0].platform, len(mesh.local_devices)
    layout, patch_px = training_set.layout, config.data.patch_px
    bank = memory.bank_bytes(layout.bank_rows, config.memory.slots, patch_px) / mesh.size
    params = sum(math.prod(x.shape) * 4 for x in jax.tree.leaves(
        jax.eval_shape(lambda: init_params(make_model(config.model.width), jax.random.key(0)))))
    snapshots = config.memory.slots * params if kind == "snapshots" else 0
    pictures = 2.0 * training_set.atlas_rows(mesh.size) * training_set.atlas_width
    pixels = config.train.batch / mesh.size * patch_px**2
    activations = pixels * ACTIVATION_BYTES.get(platform, max(ACTIVATION_BYTES.values())) * (
        config.model.width / 16) ** _WIDTH_POWER
    slot = bank / (config.memory.slots + 1)
    items = {
        "memory bank": Amounts(bank if kind == "images" else snapshots, bank * local if kind == "host" else 0),
        "pictures": Amounts(pictures, pictures * local),
        "parameters": Amounts(_STATE_COPIES * params),
        "activations (estimate)": Amounts(activations),
        **_saving(kind, config, slot, local, mesh.size, saved, _STATE_COPIES * params + snapshots),
    }
    free = Amounts(distributed.min_over_processes(free_device_bytes(mesh)),
                   distributed.min_over_processes(free_host_bytes()), free_disk_bytes(folder))
    if platform == "cpu":
        free = free._replace(device=0.0)
    return Room(kind, items, free, platform == "cpu", local)


def _saving(kind: str, config: ConfigDict, slot: float, local: int, devices: int, saved: int | None, rest: float
            ) -> dict[str, Amounts]:
    """What checkpoints take, item by item.

    Args:
      kind, config, saved: as of `plan`.
      slot: bytes of one slot of the bank on one device.
      local, devices: devices of this process and of all.
      rest: bytes of everything else in a checkpoint.
    """
    keep, remembered = config.checkpoint, config.memory.slots
    items = {}
    if kind == "host":
        items["copy of the bank at the beginning and the end"] = Amounts(0, slot * local * (remembered + 1))
    if saved is None:
        return items
    if kind == "images":
        items["copy of a slot while a checkpoint is written"] = Amounts(0, slot * local)
    kept = keep.keep_last + keep.keep_best + 1
    items[f"checkpoints: {keep.keep_last} last, {keep.keep_best} best, 1 being written"] = Amounts(0, 0, rest * kept)
    if kind != "snapshots":
        # From one checkpoint to the next, one set of planes is new; one in mid-epoch has the running epoch's besides.
        sets = remembered + keep.keep_last + bool(keep.every_steps)
        more = max(sets * slot * devices - saved, slot * devices)
        items[f"remembered planes of {sets} epochs at most"] = Amounts(0, 0, more)
    return items


def choose(config: ConfigDict, training_set: TrainingSet, mesh: Mesh, folder: Path, begun: str | None,
           saved: int | None = 0) -> tuple[Room, str]:
    """The kind of memory that `memory.kind` leads to, with its room, and the reason in words.

    "auto" takes a bank of images on the devices if it fits there, else one in host memory if it fits there, else
    snapshots.

    Args:
      config, training_set, mesh, folder, saved: as of `plan`.
      begun: the kind that the run in the folder began with; None if no run has begun.

    Raises:
      UserError: what was asked for does not fit on the devices, in the host's memory or on the disk (the message has
        the table and the ways out), or the run began with the other kind of memory, images instead of snapshots or
        the reverse.
    """
    asked = config.memory.kind
    if begun and asked != "auto" and (asked == "snapshots") != (begun == "snapshots"):
        raise UserError(f"memory.kind={asked}: this run began with {begun}; leave it at auto, or choose another folder")
    candidates = [asked] if asked != "auto" else list(KINDS)
    if asked == "auto" and begun:
        candidates = ["snapshots"] if begun == "snapshots" else ["images", "host"]
    if asked == "auto" and mesh.local_devices[0].platform == "cpu":
        # CPU devices have no memory of their own: "host" would only move the bank within the host.
        candidates = [kind for kind in candidates if kind != "host"]
    rooms = [plan(kind, config, training_set, mesh, folder, saved) for kind in candidates]
    room = next((r for r in rooms if not {"device", "host"} & set(r.lacking())), rooms[-1])
    if room.lacking():
        raise UserError(_ways_out(room, config, mesh, rooms))
    return room, _reason(room, rooms, asked, begun)


def _reason(room: Room, rooms: Sequence[Room], asked: str, begun: str | None) -> str:
    if asked != "auto":
        return "as asked for"
    if begun and len(rooms) == 1:
        return "as this run began"
    missed = [f"{r.kind} would take more {' and '.join(r.lacking())} memory than is free" for r in rooms
              if r.kind != room.kind and rooms.index(r) < rooms.index(room)]
    return "; ".join(missed) or "it fits"


def _ways_out(room: Room, config: ConfigDict, mesh: Mesh, rooms: Sequence[Room]) -> str:
    lacking, needed = room.lacking(), room.needed
    text = [f"memory.kind={config.memory.kind}: "
            + ", ".join(f"{getattr(needed, name) / 1e9:.1f} GB are needed {_where(name)} and "
                        + ("it is not known how much is free" if math.isnan(getattr(room.free, name))
                           else f"{getattr(room.free, name) / 1e9:.1f} GB are free") for name in lacking)]
    ways = []
    if {"device", "host"} & set(lacking):
        if room.kind != "snapshots":
            ways.append("set memory.kind to snapshots")
        ways += ["set data.patches or data.patch_px lower", "set train.batch lower",
                 f"use more than {mesh.size} devices"]
    if "disk" in lacking:
        ways += ["set checkpoint.keep_last=1"]
        ways += [] if room.kind == "snapshots" else ["set memory.kind to snapshots"]
        ways += ["give a --workdir on a larger disk"]
    return "; ".join([*text, "ways out: " + ", or ".join(dict.fromkeys(ways))]) + "\n" + room.table()


def _where(name: str) -> str:
    return {"device": "on each device", "host": "in the host's memory", "disk": "on the disk of the work folder"}[name]


def free_device_bytes(mesh: Mesh) -> float:
    """Free memory of one device of this process [bytes]; NaN if the device does not tell."""
    stats = mesh.local_devices[0].memory_stats()
    return float(stats["bytes_limit"] - stats.get("bytes_in_use", 0)) if stats and "bytes_limit" in stats else np.nan


def free_host_bytes() -> float:
    """Free memory of the host for this process [bytes]; processes of one machine share it, so each sees all of it."""
    return float(psutil.virtual_memory().available)


def free_disk_bytes(folder: Path) -> float:
    """Free space on the disk of `folder` [bytes]."""
    return float(shutil.disk_usage(folder).free)
