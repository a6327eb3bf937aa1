"""The room that a run needs: the table, what is chosen, and what is refused before anything is computed."""

import types

import jax
import numpy as np
import pytest

from edmf_jax.data.training_pairs import TrainingPair
from edmf_jax.errors import UserError
from edmf_jax.training import room
from edmf_jax.training.config import load_config
from edmf_jax.training.device_data import make_training_set


def machine(platform, devices, monkeypatch, device_gb=80.0, host_gb=200.0, disk_gb=1000.0):
    """A made-up machine: a mesh of such devices with so much free memory and disk."""
    monkeypatch.setattr(room, "free_device_bytes", lambda mesh: device_gb * 1e9)
    monkeypatch.setattr(room, "free_host_bytes", lambda: host_gb * 1e9)
    monkeypatch.setattr(room, "free_disk_bytes", lambda folder: disk_gb * 1e9)
    return types.SimpleNamespace(size=devices, local_devices=[types.SimpleNamespace(platform=platform)] * devices)


@pytest.fixture(scope="module")
def paper():
    """The paper's configuration and a training set of its size, of which nothing but sizes counts here."""
    config = load_config("edmf.py")
    pairs = [TrainingPair(i, None, (1500, 1100)) for i in range(450)]
    return config, make_training_set(pairs, config)


def test_the_papers_run_on_one_accelerator(paper, monkeypatch, tmp_path):
    mesh = machine("gpu", 1, monkeypatch)
    found, reason = room.choose(*paper, mesh, tmp_path, None)
    assert found.kind == "images" and reason == "it fits"
    assert found.items["memory bank"].device == pytest.approx(34.8e9, rel=0.01)
    # Measured ahead of time for an H200: 5.8 GB of temporaries.
    assert found.items["activations (estimate)"].device == pytest.approx(5.8e9, rel=0.05)
    slot = 34.8e9 / 5
    assert found.items["copy of a slot while a checkpoint is written"].host == pytest.approx(slot, rel=0.01)
    # Four remembered epochs, one that only the checkpoint before the newest needs, one being written.
    assert found.needed.disk == pytest.approx(6 * slot, rel=0.01) and found.needed.disk < 1.3 * 34.8e9
    assert found.needed.device > sum(x.device for x in found.items.values()) * 0.999
    lines = found.table().splitlines()
    assert lines[0].split() == ["room", "[GB]", "each", "device", "host", "disk"]
    assert lines[-1].split() == ["free", "80.0", "200.0", "1000.0"]
    assert len({len(line) for line in lines}) == 1


def test_activations_count_not_the_bank_alone(paper, monkeypatch, tmp_path):
    mesh = machine("gpu", 1, monkeypatch, device_gb=38.0)  # the bank fits, the step does not
    found, reason = room.choose(*paper, mesh, tmp_path, None)
    assert found.kind == "host" and "images would take more device memory" in reason


def test_a_bank_on_the_host_takes_twice_its_size_there(paper, monkeypatch, tmp_path):
    mesh = machine("gpu", 1, monkeypatch, device_gb=20.0, host_gb=75.0)
    assert room.choose(*paper, mesh, tmp_path, None)[0].kind == "host"
    mesh = machine("gpu", 1, monkeypatch, device_gb=20.0, host_gb=65.0)
    assert room.choose(*paper, mesh, tmp_path, None)[0].kind == "snapshots"


def test_what_was_asked_for_and_does_not_fit_is_refused_with_the_ways_out(paper, monkeypatch, tmp_path):
    config, training_set = paper
    mesh = machine("gpu", 2, monkeypatch, device_gb=10.0)
    config = config.copy_and_resolve_references()
    config.memory.kind = "images"
    with pytest.raises(UserError, match=r"on each device and 10\.0 GB are free.*memory\.kind to snapshots"):
        room.choose(config, training_set, mesh, tmp_path, None)
    config.memory.kind = "snapshots"
    with pytest.raises(UserError, match="this run began with images"):
        room.choose(config, training_set, mesh, tmp_path, "images")


def test_a_disk_that_is_too_small_is_said_before_the_first_step(paper, monkeypatch, tmp_path):
    assert room.choose(*paper, machine("gpu", 1, monkeypatch, disk_gb=64.0), tmp_path, None)[0].kind == "images"
    mesh = machine("gpu", 1, monkeypatch, disk_gb=30.0)
    with pytest.raises(UserError, match=r"41\.8 GB are needed on the disk.*keep_last=1"):
        room.choose(*paper, mesh, tmp_path, None)
    # What is there already is not needed again, except for the set that is written before another goes.
    assert room.choose(*paper, mesh, tmp_path, "images", saved=20e9)[0].kind == "images"
    assert room.choose(*paper, mesh, tmp_path, "images", saved=90e9)[0].needed.disk == pytest.approx(7e9, rel=0.01)


def test_saves_in_mid_epoch_take_one_set_more_and_a_run_that_saves_nothing_takes_none(paper, monkeypatch, tmp_path):
    config, mesh = paper[0].copy_and_resolve_references(), machine("gpu", 1, monkeypatch)
    config.checkpoint.every_steps = 100
    found = room.choose(config, paper[1], mesh, tmp_path, None)[0]
    assert found.needed.disk == pytest.approx(7 * 34.8e9 / 5, rel=0.01)
    found = room.choose(config, paper[1], mesh, tmp_path, None, saved=None)[0]
    assert found.needed.disk == 0 and not any("checkpoint" in name for name in found.items)


def test_a_run_keeps_its_kind(paper, monkeypatch, tmp_path):
    mesh = machine("gpu", 1, monkeypatch)
    assert room.choose(*paper, mesh, tmp_path, "snapshots")[0].kind == "snapshots"
    assert room.choose(*paper, mesh, tmp_path, "images")[0].kind == "images"


def test_unknown_device_memory_is_not_the_hosts(paper, monkeypatch, tmp_path):
    mesh = machine("gpu", 1, monkeypatch, device_gb=float("nan"))
    with pytest.raises(UserError, match="it is not known how much is free"):
        config = paper[0].copy_and_resolve_references()
        config.memory.kind = "images"
        room.choose(config, paper[1], mesh, tmp_path, None)
    silent = types.SimpleNamespace(local_devices=[types.SimpleNamespace(memory_stats=lambda: None)])
    monkeypatch.undo()
    assert np.isnan(room.free_device_bytes(silent))


def test_cpu_devices_share_the_hosts_memory(paper, monkeypatch, tmp_path):
    mesh = machine("cpu", 4, monkeypatch, host_gb=45.0)
    found, _ = room.choose(*paper, mesh, tmp_path, None)
    assert found.kind == "snapshots"  # the bank fits, but not with pictures, activations and the copy of a slot
    assert found.table().splitlines()[0].split() == ["room", "[GB]", "host", "and", "devices", "disk"]


def test_one_activation_estimate_is_what_xla_says_on_this_platform():
    """The estimate for the CPU beside the compiled step's temporaries, at another size than it was measured at."""
    from tests.helpers.compiled_step import temporary_bytes

    measured = temporary_bytes(width=16, batch=4, patch_px=64)
    assert measured == pytest.approx(4 * 64**2 * room.ACTIVATION_BYTES["cpu"], rel=0.15)
    assert jax.default_backend() == "cpu"
