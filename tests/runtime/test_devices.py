"""Whether a GPU is used."""

import sys
from types import SimpleNamespace

import jax
import pytest

from edmf_jax.errors import UserError
from edmf_jax.runtime import devices, process


def machine(monkeypatch, platforms, has_gpu):
    """One with this JAX_PLATFORMS, with a GPU's plugin and driver or without."""
    found = lambda name: has_gpu or None
    monkeypatch.setattr(devices, "importlib", SimpleNamespace(util=SimpleNamespace(find_spec=found)))
    monkeypatch.setattr(devices, "os", SimpleNamespace(environ={"JAX_PLATFORMS": platforms},
                                                       path=SimpleNamespace(exists=found)))


def no_gpu():
    raise RuntimeError("Unknown backend: 'gpu'")


@pytest.mark.parametrize(("device", "pays", "possible", "there", "expected"), [
    ("cpu", True, True, True, None),
    ("gpu", False, False, True, "a GPU"),
    ("auto", True, True, True, "a GPU"),
    ("auto", False, True, True, None),
    ("auto", True, True, False, None),  # a driver without a card
    ("auto", True, False, True, None),
])
def test_a_gpu_is_taken_where_it_is_asked_for_or_pays(monkeypatch, device, pays, possible, there, expected):
    machine(monkeypatch, "", possible)
    monkeypatch.setattr(devices, "first_gpu", (lambda: "a GPU") if there else no_gpu)
    assert devices.gpu_for(device, pays=pays) == expected
    assert devices.may_take_gpu(device) == (device == "gpu" or (device == "auto" and possible))


def test_one_that_is_asked_for_and_missing_is_named():
    with pytest.raises(UserError, match=r"--device gpu: JAX finds no GPU here .*edmf-jax\[cuda\]"):
        devices.gpu_for("gpu")


@pytest.mark.parametrize(("device", "networks", "before", "expected"), [
    ("cpu", True, "", [("JAX_PLATFORMS", "cpu")]),
    ("cpu", True, "cuda", [("JAX_PLATFORMS", "cpu")]),
    ("auto", True, "", []),
    ("auto", False, "", [("JAX_PLATFORMS", "cpu")]),
    ("auto", False, "cuda", []),
])
def test_jax_looks_for_no_more_than_it_has_to(monkeypatch, device, networks, before, expected):
    told = []
    machine(monkeypatch, before, has_gpu=False)
    monkeypatch.setattr(devices, "set_option", lambda *option: told.append(option))
    devices.use(device, networks=networks)
    assert told == expected


def test_a_gpu_that_is_asked_for_is_where_jax_computes(monkeypatch):
    told = {}
    monkeypatch.setitem(sys.modules, "jax", SimpleNamespace(
        devices=lambda platform: [platform, "another"], config=SimpleNamespace(update=told.__setitem__)))
    devices.use("gpu")
    assert told == {"jax_default_device": "gpu"}


def test_options_reach_a_jax_that_is_imported(monkeypatch):
    told = {}
    monkeypatch.setattr(jax.config, "update", told.__setitem__)
    process.set_option("JAX_PLATFORMS", "cpu")
    assert told == {"jax_platforms": "cpu"}
