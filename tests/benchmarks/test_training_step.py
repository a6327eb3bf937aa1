"""PyTorch's training and ours are the same: losses, gradients, steps; and both equal independent values."""

import jax
import numpy as np
import pytest

from benchmarks.inputs import Shape, make_inputs
from benchmarks.jax_training import JaxTraining
from tests.helpers.files import nest

SMALL = Shape(2, 32)


@pytest.fixture(scope="module")
def torch_training():
    pytest.importorskip("torch", reason="torch is not installed: pip install torch==2.13.0")
    from benchmarks.torch_training import TorchTraining

    return TorchTraining


@pytest.fixture(scope="module")
def inputs():
    return make_inputs(SMALL)


@pytest.fixture(scope="module")
def first_step(inputs):
    """Our training after its first step, the loss of that step, and Adam's mean of gradients."""
    ours = JaxTraining(inputs)
    loss, = ours.steps.run()
    return ours, loss, jax.device_get(ours.steps.state.opt_state[0].mu)


@pytest.mark.parametrize("channels_last", [True, False])
def test_torch_has_our_loss_and_gradients(torch_training, inputs, first_step, channels_last):
    _, own_loss, moments = first_step
    theirs = torch_training(inputs, channels_last=channels_last)
    loss = theirs.loss(theirs.order[0])[0]
    loss.backward()
    assert own_loss == pytest.approx(loss.item(), rel=1e-5)
    for name, parameters in moments.items():
        layer = getattr(theirs.net, name)
        kernel = layer.weight.grad.numpy().transpose(2, 3, 1, 0)
        for own, there in ((parameters["kernel"], kernel), (parameters["bias"], layer.bias.grad.numpy())):
            # After one step from zero the mean is a tenth of the gradient.
            assert np.abs(10 * own - there).max() <= 1e-4 * np.abs(there).max(), name


def test_torch_trains_as_we_do(torch_training, inputs, first_step):
    """Losses of six steps, so that every batch came and the first two came again: cutting, memory, Adam."""
    ours, first, _ = first_step
    theirs = torch_training(inputs, channels_last=True)
    own = [first, *(ours.steps.run()[0] for _ in range(5))]
    np.testing.assert_allclose(own, [theirs.step().item() for _ in own], rtol=1e-5)
    assert len(set(own)) == 6


@pytest.mark.slow
def test_many_steps_in_one_call_are_the_same_steps(inputs):
    one, many = JaxTraining(inputs), JaxTraining(inputs, steps_per_call=3)
    np.testing.assert_allclose([one.steps.run()[0] for _ in range(3)], many.steps.run(), rtol=1e-6)


def test_torch_equals_the_independent_values(reference, torch_training):
    data = reference("train_step")
    params = {f"param/{layer}/{kind}": value for layer, kinds in nest(data, "param/").items()
              for kind, value in kinds.items()}
    theirs = torch_training({"levels": data["sources"], "remembered": data["memory"], "learning_rate": np.float32(1e-4),
                             "order": np.arange(4, dtype=np.int32)[None], **params}, channels_last=False)
    values = [theirs.step().item() for _ in range(4)]
    np.testing.assert_allclose(values, data["loss_after_adam_steps"], rtol=1e-5)
