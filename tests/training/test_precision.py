"""In which precision products are computed, read from programs lowered for GPUs and TPUs, and what the log says of it.

By default those platforms multiply float32 in TF32 or bfloat16.
"""

import ast
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from edmf_jax.core.model import fuse_luma, init_params, make_model
from edmf_jax.metrics import table
from edmf_jax.training import steps
from edmf_jax.training.train import arithmetic
from tests.helpers.files import ROOT
from tests.helpers.training_rig import Rig


def precisions(lowered: str) -> dict[str, set[str]]:
    """Operation → the precisions of its products, over a lowered program's text."""
    found: dict[str, set[str]] = {}
    for line in lowered.splitlines():
        operation = re.search(r"stablehlo\.(dot_general|convolution)\b", line)
        if operation:
            named = re.findall(r"DEFAULT|HIGHEST|HIGH\b", line)
            found.setdefault(operation[1], set()).update(named or ["DEFAULT"])
    return found


def lower(function, *arguments, platform="cuda") -> str:
    return jax.jit(function).trace(*arguments).lower(lowering_platforms=(platform,)).as_text()


def test_precisions_are_read_from_a_program():
    x = jnp.zeros((4, 4))
    assert precisions(lower(lambda x: x @ x, x)) == {"dot_general": {"DEFAULT"}}
    exact = lambda x: jnp.matmul(x, x, precision="highest")
    assert precisions(lower(exact, x)) == {"dot_general": {"HIGHEST"}}
    assert precisions(lower(lambda x: exact(x) @ x, x)) == {"dot_general": {"DEFAULT", "HIGHEST"}}


@pytest.mark.parametrize(("platform", "precision"), [("cuda", "default"), ("cuda", "highest"), ("tpu", "high")])
def test_only_the_networks_convolutions_take_the_chosen_precision(precision, platform):
    """The loss, the scores and the log's numbers are in full precision whatever is chosen."""
    rig = Rig(1, sharded=True)
    network = make_model(2, platform={"cuda": "gpu"}.get(platform, platform), precision=precision)
    step = steps.make_sharded_step(rig.step_config._replace(model=network), rig.mesh)
    arguments = jax.eval_shape(rig.initial_state), rig.sources, rig.order(0), 1
    found = precisions(step.trace(*arguments).lower(lowering_platforms=(platform,)).as_text())
    assert found == {"convolution": {precision.upper()}, "dot_general": {"HIGHEST"}}


def test_the_default_can_be_raised_from_outside():
    """As fusing does, by jax.default_matmul_precision."""
    network = make_model(2, platform="gpu")
    params = jax.eval_shape(lambda: init_params(network, jax.random.key(0)))
    plane = jax.ShapeDtypeStruct((1, 16, 16), np.float32)
    with jax.default_matmul_precision("highest"):
        found = precisions(lower(lambda p, x: fuse_luma(network, p, x, x), params, plane))
    assert found == {"convolution": {"HIGHEST"}}


@pytest.mark.parametrize("metric", [*table.TABLE_2, *table.FURTHER], ids=lambda metric: metric.name)
def test_metrics_compute_in_full_precision(metric):
    plane = jax.ShapeDtypeStruct((48, 64), np.uint8)
    traced = lambda *planes: metric.function(*planes)
    found = precisions(lower(traced, plane, plane, plane))
    assert set().union(*found.values()) <= {"HIGHEST"}, found


def test_registration_computes_in_numpy():
    """So the swarm's cost and all else there is in full precision on every platform."""
    for path in (ROOT / "edmf_jax" / "registration").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else (
                [node.module or ""] if isinstance(node, ast.ImportFrom) else [])
            assert not [name for name in names if name.split(".")[0] == "jax"], path.name


@pytest.mark.parametrize(("platform", "dtype", "precision", "expected"), [
    ("gpu", "float32", "default", "convolutions in float32, multiplied in TF32 (train.precision=default); loss and "
                                  "scores in float32; SSIM's windows as sums of shifted slices"),
    ("gpu", "float32", "highest", "convolutions in float32 (train.precision=highest);"),
    ("gpu", "bfloat16", "default", "convolutions in bfloat16 (train.precision=default);"),
    ("tpu", "float32", "high", "multiplied in three passes of bfloat16 (train.precision=high);"),
    ("cpu", "float32", "default", "convolutions in float32 (train.precision=default); loss and scores in float32; "
                                  "SSIM's windows as products with banded matrices"),
])
def test_the_log_says_how_a_step_computes(platform, dtype, precision, expected):
    assert expected in arithmetic(make_model(16, dtype, precision=precision), platform)
