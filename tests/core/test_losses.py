import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from edmf_jax.core import losses
from edmf_jax.core.focus import focus_masks
from edmf_jax.core.losses import Coefficients
from edmf_jax.core.model import make_model
from tests.helpers.files import nest


class Step:
    """The reference's training step in a given precision."""

    def __init__(self, data: dict, dtype: str):
        self.data = data
        self.params = jax.tree.map(lambda x: jnp.asarray(x, dtype), nest(data, "param/"))
        self.model = make_model(16, dtype)
        self.planes = jnp.asarray(data["sources"], dtype) / 255
        self.remembered = jnp.asarray(data["memory"], dtype) / 255
        self.masks = jnp.stack(focus_masks(self.planes[:, 0], self.planes[:, 1], 19), 1)
        self.scores = jax.jit(jax.vmap(losses.source_score, (1, None), 1))(self.remembered, self.planes)

    def report(self, params):
        output = self.model.apply({"params": params}, jnp.moveaxis(self.planes, 1, -1))
        return losses.total_loss(output, self.planes, self.masks, self.remembered, self.scores,
                                 jnp.ones(2, bool), Coefficients())

    def loss(self, params):
        return self.report(params).total.mean()


@pytest.fixture(params=["float32", "float64"])
def step(request, reference):
    with jax.enable_x64(request.param == "float64"):
        yield Step(reference("train_step"), request.param)


def test_terms_ratios_and_loss_equal_the_pytorch_reference(step):
    report = jax.jit(step.report)(step.params)
    data = step.data
    for name in ("pixel", "grad", "ssim"):
        np.testing.assert_allclose(getattr(report.current, name), data[f"current_{name}"], rtol=1e-5)
        np.testing.assert_allclose(getattr(report.memory, name), data[f"memory_{name}"], rtol=1e-5)
    np.testing.assert_allclose(jnp.concatenate([report.score[:, None], step.scores], 1), data["scores"], rtol=1e-5)
    ratios = jnp.concatenate([report.ratio[:, None], report.memory_ratios], 1)
    np.testing.assert_allclose(ratios, data["ratios"], rtol=1e-5)
    np.testing.assert_allclose(report.total, data["total_per_patch"], rtol=1e-5)


def test_gradients_and_adam_steps_equal_the_pytorch_reference(step):
    optimizer = optax.adam(1e-4)
    params, state, values = step.params, optimizer.init(step.params), []
    # Float64 convolutions are loops on a CPU, which `make test` would leave as they are, a hundred times slower.
    optimized = {"xla_backend_optimization_level": 3} if step.planes.dtype == jnp.float64 else None
    function = jax.jit(jax.value_and_grad(step.loss), compiler_options=optimized)
    update = jax.jit(optimizer.update)
    for i in range(4):
        value, gradients = function(params)
        values.append(float(value))
        if i == 0:
            check_gradients(gradients, step)
        updates, state = update(gradients, state)
        params = optax.apply_updates(params, updates)
    np.testing.assert_allclose(values, step.data["loss_after_adam_steps"], rtol=1e-5)


def check_gradients(gradients, step):
    # In float32 the sign of one ReLU's input can differ, and with it the gradient from a whole pixel.
    tolerance = 1e-6 if step.planes.dtype == jnp.float64 else 5e-3
    for layer, arrays in gradients.items():
        for kind, array in arrays.items():
            expected = step.data[f"grad/{layer}/{kind}"]
            np.testing.assert_allclose(array, expected, atol=tolerance * np.abs(expected).max(), rtol=0)


@pytest.fixture
def batch(rng):
    planes = jnp.asarray(rng.random((3, 2, 24, 25)), jnp.float32)
    output = planes.mean(1)
    masks = jnp.stack(focus_masks(planes[:, 0], planes[:, 1], 7), 1)
    remembered = jnp.asarray(rng.random((3, 4, 24, 25)), jnp.float32)
    return output, planes, masks, remembered


def test_a_perfect_output_for_equal_sources_has_no_loss(batch):
    output = batch[0]
    twice = jnp.stack([output, output], 1)
    masks = jnp.stack(focus_masks(output, output, 7), 1)
    for term in losses.current_loss(output, twice, masks):
        np.testing.assert_allclose(term, 0, atol=1e-6)
    for term in losses.memory_loss(output, twice):
        np.testing.assert_allclose(term, 0, atol=1e-6)


def test_swapping_the_sources_with_their_masks_changes_nothing(batch):
    output, planes, masks, _ = batch
    here = losses.current_loss(output, planes, masks)
    there = losses.current_loss(output, planes[:, ::-1], masks[:, ::-1])
    for a, b in zip(here, there, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6)


def test_masks_multiply_before_the_square(batch):
    output, planes, masks, _ = batch
    expected = sum(np.mean((np.asarray(masks[:, i]) * np.asarray(output - planes[:, i])) ** 2, (1, 2)) for i in (0, 1))
    np.testing.assert_allclose(losses.current_loss(output, planes, masks).pixel, expected, rtol=1e-5)


def test_ratios_are_a_softmax_over_the_filled_entries():
    score, remembered = jnp.array([0.5]), jnp.array([[0.1, 0.9, 0.3, 0.7]])
    for is_filled in ([True] * 4, [True, False, False, True], [False] * 4):
        ratio, ratios = losses.adaptive_ratios(score, remembered, jnp.array(is_filled))
        exponents = np.exp([0.5, *np.where(is_filled, remembered[0], -np.inf)])
        np.testing.assert_allclose([float(ratio[0]), *ratios[0]], exponents / exponents.sum(), rtol=1e-6)
    assert float(ratio[0]) == 1


def test_the_loss_of_the_first_epoch_is_the_current_loss_alone(batch):
    output, planes, masks, remembered = batch
    report = losses.total_loss(output, planes, masks, remembered, jnp.zeros((3, 4)), jnp.zeros(4, bool), Coefficients())
    np.testing.assert_allclose(report.total, losses.weighted_sum(report.current, Coefficients()), rtol=1e-6)


def test_no_gradient_flows_through_the_ratios(batch):
    output, planes, masks, remembered = batch
    is_filled = jnp.ones(4, bool)
    scores = jnp.full((3, 4), 0.4)

    def with_ratios_free(output):
        return losses.total_loss(output, planes, masks, remembered, scores, is_filled, Coefficients()).total.sum()

    report = losses.total_loss(output, planes, masks, remembered, scores, is_filled, Coefficients())

    def with_ratios_fixed(output):
        current = losses.weighted_sum(losses.current_loss(output, planes, masks), Coefficients())
        memory = losses.weighted_sum(losses.memory_loss(output, remembered), Coefficients())
        return jnp.sum(report.ratio * current) + jnp.sum(report.memory_ratios * memory)

    free, fixed = (jax.jit(jax.grad(f))(output) for f in (with_ratios_free, with_ratios_fixed))
    np.testing.assert_allclose(free, fixed, atol=1e-6)


def test_gradients_are_finite_at_extremes():
    planes = jnp.zeros((1, 2, 16, 16))
    masks = jnp.stack(focus_masks(planes[:, 0], planes[:, 1], 7), 1)

    @jax.jit
    @jax.grad
    def gradient(output):
        remembered, scores, is_filled = jnp.zeros((1, 4, 16, 16)), jnp.ones((1, 4)), jnp.ones(4, bool)
        return losses.total_loss(output, planes, masks, remembered, scores, is_filled, Coefficients()).total.sum()

    for level in (0.0, 1.0):
        assert bool(jnp.isfinite(gradient(jnp.full((1, 16, 16), level))).all())


def test_total_loss_equals_its_plainly_written_parts(batch):
    output, planes, masks, remembered = batch
    report = losses.total_loss(output, planes, masks, remembered, jnp.zeros((3, 4)), jnp.ones(4, bool), Coefficients())
    for fast, plain in ((report.current, losses.current_loss(output, planes, masks)),
                        (report.memory, losses.memory_loss(output, remembered)),
                        (report.score, losses.source_score(output, planes))):
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), fast, plain)


def test_patches_of_a_batch_do_not_mix(batch):
    output, planes, masks, remembered = batch
    args = (jnp.full((3, 4), 0.5), jnp.ones(4, bool), Coefficients())
    whole = losses.total_loss(output, planes, masks, remembered, *args).total
    for i in range(3):
        one = slice(i, i + 1)
        alone = losses.total_loss(output[one], planes[one], masks[one], remembered[one], args[0][one], *args[1:]).total
        np.testing.assert_allclose(alone[0], whole[i], rtol=1e-5)


def test_ratios_of_figure_14(batch):
    output, planes, masks, remembered = batch
    is_filled = jnp.array([True, False, True, False])

    def report(ratios):
        return losses.total_loss(output, planes, masks, remembered, jnp.zeros((3, 4)), is_filled, Coefficients(),
                                 ratios)

    none, equal = report("none"), report("equal")
    np.testing.assert_array_equal(none.ratio, 1)
    np.testing.assert_array_equal(none.memory_ratios, np.tile([1, 0, 1, 0], (3, 1)))
    np.testing.assert_allclose(equal.ratio, 0.2, rtol=1e-6)
    np.testing.assert_allclose(equal.total, 0.2 * none.total, rtol=1e-5)


def test_targets_replace_the_sources_in_the_current_loss_only(batch):
    output, planes, masks, remembered = batch
    args = remembered, jnp.zeros((3, 4)), jnp.ones(4, bool), Coefficients()
    plain = losses.total_loss(output, planes, masks, *args)
    same = losses.total_loss(output, planes, masks, *args, targets=planes)
    jax.tree.map(np.testing.assert_array_equal, plain, same)
    targets = jnp.clip(planes + 0.1, 0, 1)
    moved = losses.total_loss(output, planes, masks, *args, targets=targets)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), moved.current,
                 losses.current_loss(output, targets, masks))
    jax.tree.map(np.testing.assert_array_equal, moved.memory, plain.memory)
    np.testing.assert_array_equal(moved.score, plain.score)
