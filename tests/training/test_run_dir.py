"""The run's folder: resuming what older versions began, refusing other pixels, and a log that is always JSON."""

import dataclasses
import json
import math

import numpy as np
import pytest

from edmf_jax.data.training_pairs import TrainingPair
from edmf_jax.errors import UserError
from edmf_jax.runtime import distributed
from edmf_jax.training import device_data, run_dir
from edmf_jax.training.config import as_stored, differences, flat_fields, load_config
from edmf_jax.training.divergence import Diverged, DivergenceMonitor
from edmf_jax.training.loop import log_epoch, log_step
from edmf_jax.training.patches import PatchLayout
from edmf_jax.training.run_dir import MAY_CHANGE, MetricsLog, SilentLog, open_workdir, read_run, write_run
from tests.helpers.files import ROOT

OLD_RUNS = sorted([*ROOT.glob("results/edmf/*/run.json"), *ROOT.glob("results/table3/*/run.json")])


def as_of_today(stored):
    """Today's configuration with the values of a stored one: what its owner gets with the same file and options."""
    config = load_config("edmf.py")
    for name, value in flat_fields(stored).items():
        section, _, field = name.rpartition(".")
        (config[section] if section else config)[field] = value
    return config


def pairs(rng):
    return [TrainingPair(i, rng.integers(0, 256, (2, 40, 50), np.uint8)) for i in range(3)]


@pytest.fixture
def training_set(rng):
    config = load_config("edmf.py")
    config.data.update(patches=8, patch_px=32, logical_shards=4)
    config.train.batch = 4
    return device_data.make_training_set(pairs(rng), config)


def begin(folder, training_set, config=None, kind="images"):
    write_run(folder, config or load_config("edmf.py"), training_set.fingerprint, training_set.pixel_fingerprint(),
              kind)


# --- configuration


@pytest.mark.parametrize("path", OLD_RUNS, ids=lambda path: f"{path.parent.parent.name}-{path.parent.name}")
def test_a_run_of_an_older_version_resumes(path, tmp_path):
    stored = json.loads(path.read_text())["config"]
    config = as_of_today(stored)
    assert differences(config, stored) == []
    (tmp_path / "run.json").write_text(path.read_text())
    assert open_workdir(tmp_path, config) == tmp_path


def test_the_old_records_lack_fields_and_there_are_such_records():
    """Otherwise the test above would prove nothing."""
    today = flat_fields(as_stored(load_config("edmf.py")))
    lacking = [today.keys() - flat_fields(json.loads(path.read_text())["config"]) for path in OLD_RUNS]
    assert len(lacking) >= 19 and sum(len(names) >= 3 for names in lacking) >= 3


def test_a_lacking_field_has_its_default_and_no_other_value(tmp_path):
    config = load_config("edmf.py")
    stored = as_stored(config)
    del stored["loss"]["exposure_share"], stored["focus"]
    assert differences(config, stored) == []
    config.loss.exposure_share = 0.03
    assert differences(config, stored) == ["loss.exposure_share (0.03 here, 0.0 there)"]
    (tmp_path / "run.json").write_text(json.dumps({"config": stored, "data": "x"}))
    with pytest.raises(UserError, match=r"another configuration: loss\.exposure_share \(0\.03 here, 0\.0 there\)"):
        open_workdir(tmp_path, config)


def test_a_field_that_is_no_more_is_a_difference():
    stored = as_stored(load_config("edmf.py"))
    stored["loss"]["charm"] = 3
    assert differences(load_config("edmf.py"), stored) == ["loss.charm (None here, 3 there)"]


def test_only_what_changes_no_step_may_change(tmp_path, training_set):
    config = load_config("edmf.py")
    begin(tmp_path, training_set, config)
    config.train.update(epochs=99, log_every_steps=7, steps_per_call=3, diverged_ratio=5.0)
    config.checkpoint.keep_last, config.memory.kind, config.data.data_dir = 5, "host", "/elsewhere"
    assert len(differences(config, read_run(tmp_path)["config"])) == 7
    open_workdir(tmp_path, config)
    known = [name for file in ("edmf.py", "chooser.py") for name in flat_fields(as_stored(load_config(file)))]
    assert all(any(name.startswith(start) for name in known) for start in MAY_CHANGE)
    config.seed = 1
    with pytest.raises(UserError, match=r"seed \(1 here, 0 there\)"):
        open_workdir(tmp_path, config)


# --- data


def test_other_pixels_of_the_same_pairs_and_sizes_are_refused(tmp_path, training_set):
    begin(tmp_path, training_set)
    before = (tmp_path / "run.json").read_bytes()
    changed = [dataclasses.replace(pair, luma=pair.luma.copy()) for pair in training_set.pairs]
    changed[1].luma[0, 39, 49] ^= 1  # the last bit of one pixel in a corner
    other = dataclasses.replace(training_set, pairs=changed)
    assert other.fingerprint == training_set.fingerprint
    with pytest.raises(UserError, match="has the same pairs as when this run began, but other pixels"):
        begin(tmp_path, other)
    assert (tmp_path / "run.json").read_bytes() == before
    begin(tmp_path, training_set)  # the old ones are still welcome
    swapped = dataclasses.replace(training_set, pairs=[dataclasses.replace(p, luma=p.luma[::-1])
                                                       for p in training_set.pairs])
    with pytest.raises(UserError, match="other pixels"):
        begin(tmp_path, swapped)


def test_other_pairs_sizes_or_patches_are_refused(tmp_path, training_set):
    begin(tmp_path, training_set)
    renamed = [dataclasses.replace(pair, id=pair.id + 10) for pair in training_set.pairs]
    for other in (dataclasses.replace(training_set, pairs=renamed),
                  dataclasses.replace(training_set, table=training_set.table[::-1])):
        with pytest.raises(UserError, match="began on other pictures"):
            begin(tmp_path, other)


def test_the_pixels_of_a_run_that_did_not_record_them_are_taken_as_todays(tmp_path, training_set):
    begin(tmp_path, training_set)
    record = read_run(tmp_path)
    del record["pixels"]
    record["begun"] = "2026-01-01T00:00:00+00:00"
    (tmp_path / "run.json").write_text(json.dumps(record))
    begin(tmp_path, training_set)
    assert read_run(tmp_path)["pixels"] == training_set.pixel_fingerprint()
    assert read_run(tmp_path)["begun"] == "2026-01-01T00:00:00+00:00"


def test_memory_order_of_the_pixels_does_not_count(training_set):
    turned = [dataclasses.replace(p, luma=np.asfortranarray(p.luma)) for p in training_set.pairs]
    assert dataclasses.replace(training_set, pairs=turned).pixel_fingerprint() == training_set.pixel_fingerprint()


def test_processes_that_hold_different_pictures_agree_on_the_pixels(training_set, monkeypatch):
    """Each process has digests of its own pictures and zeros for the rest; a pair without patches counts nowhere."""
    whole = training_set.pixel_fingerprint()
    parts = [dataclasses.replace(training_set, pairs=[dataclasses.replace(p, luma=p.luma if i in held else None)
                                                      for i, p in enumerate(training_set.pairs)])
             for held in ({0, 1}, {1, 2})]
    # What every process sends, then what each gets of all.
    sent = []
    monkeypatch.setattr(distributed, "gather_rows", lambda rows: sent.append(rows) or rows)
    for part in parts:
        part.pixel_fingerprint()
    monkeypatch.setattr(distributed, "gather_rows", lambda rows: np.concatenate(sent))
    assert [part.pixel_fingerprint() for part in parts] == [whole, whole]
    monkeypatch.undo()
    used = dataclasses.replace(training_set, table=training_set.table[training_set.table[:, 0] < 2])
    unused = dataclasses.replace(used, pairs=[*used.pairs[:2], dataclasses.replace(used.pairs[2], luma=None)])
    assert used.pixel_fingerprint() == unused.pixel_fingerprint()


# --- the record and the log


@pytest.mark.parametrize("text", ["", "{", "[]", "3", "{}", '{"config": {}}', '{"config": [], "data": "x"}'])
def test_a_damaged_record_is_said_in_one_line(tmp_path, text):
    (tmp_path / "run.json").write_text(text)
    with pytest.raises(UserError, match=r"run\.json is damaged \(.*choose another work folder"):
        read_run(tmp_path)


def strict_lines(path):
    """The records of a log, read by RFC 8259: NaN and Infinity are no words of JSON."""
    def refuse(word):
        raise AssertionError(f"a bare {word} in {path}")

    return [json.loads(line, parse_constant=refuse) for line in path.read_text().splitlines()]


def test_nan_and_infinity_are_never_bare_words(tmp_path):
    log, layout = MetricsLog(tmp_path, 0), PatchLayout(13, 4, 4)
    row = {"loss": np.float32(np.nan), "gradient_norm": np.float32(np.inf), "memory_ratios": np.array([1, np.nan])}
    log_step(log, 1, layout, row, None)
    log_step(log, 2, layout, {**row, "loss": np.float32(-np.inf)}, math.inf)
    log_epoch(log, 4, 0, {"sharpness": np.float32(np.nan), "held_epochs": np.array([1, -1])}, 1.0)
    for loss, norm in ((math.nan, 1.0), (math.inf, 1.0), (1.0, math.nan)):
        with pytest.raises(Diverged) as caught:
            DivergenceMonitor(20.0, layout, 3, 1e-3).check(5, loss, norm, [])
        log.write(caught.value.record)
    found = strict_lines(tmp_path / "metrics.jsonl")
    assert [r["loss"] for r in found if "loss" in r] == [None, None, None, None, 1.0]
    assert found[0]["memory_ratios"] == [1.0, None] and found[0]["patches_per_second"] is None
    assert found[1]["patches_per_second"] is None and found[2]["sharpness"] is None
    assert found[3]["event"] == "diverged" and len(found[3]["patches"]) == 4


def test_the_records_of_a_run_with_nan_in_its_configuration_are_json(tmp_path, training_set):
    config = load_config("edmf.py")
    config.train.diverged_ratio = math.inf
    begin(tmp_path, training_set, config)
    text = (tmp_path / "run.json").read_text()
    assert "NaN" not in text and "Infinity" not in text
    assert json.loads(text)["config"]["train"]["diverged_ratio"] is None


def test_lines_that_are_no_records_are_dropped(tmp_path):
    strange = ["5", "[1]", "null", '{"event": "x"}', '{"step": null}']
    lines = ['{"step": 1}', *strange, '{"step": 2}', '{"step": 3}', '{"st']
    (tmp_path / "metrics.jsonl").write_bytes("\n".join(lines).encode() + b"\xc3")
    log = MetricsLog(tmp_path, 2)
    assert (tmp_path / "metrics.jsonl").read_text() == '{"step": 1}\n{"step": 2}\n'
    log.write({"step": 3})
    assert strict_lines(tmp_path / "metrics.jsonl")[-1] == {"step": 3}


def test_other_processes_than_the_first_write_nothing(tmp_path, training_set, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(run_dir.distributed, "is_first", lambda: False)
    begin(tmp_path, training_set)
    log = SilentLog()
    log.write({"step": 1})
    log.close()
    assert list(tmp_path.iterdir()) == []


def test_a_log_on_a_full_disk_is_said_in_one_line(tmp_path):
    log = MetricsLog(tmp_path, 0)
    log.write({"step": 1})
    log.path.unlink()
    log.path.symlink_to("/dev/full")
    with pytest.raises(UserError, match=r"metrics\.jsonl: cannot be written \(No space left on device\)"):
        log.write({"step": 2})
