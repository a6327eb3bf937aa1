"""Our training step as `edmf train` runs it, and its network alone, on given inputs."""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import Mesh

from benchmarks.inputs import REMEMBERED
from edmf_jax.core import losses, memory
from edmf_jax.core.cpu_convolution import compiler_options
from edmf_jax.core.model import make_model
from edmf_jax.data.training_pairs import TrainingPair
from edmf_jax.training import steps
from edmf_jax.training.device_data import TrainingSet, put_sources
from edmf_jax.training.patches import PatchLayout
from edmf_jax.training.state import DEVICES, Sources, TrainState, shardings, to_devices
from edmf_jax.weights.params import unflatten

WINDOW_PX = 19
GPU_STEPS_PER_CALL = 16  # as `train.steps_per_call` is by default


def one_device() -> Mesh:
    """A mesh of one device: all rows are measured on one, however many there are."""
    return Mesh(np.array(jax.devices()[:1]), (DEVICES,))


def place(state: TrainState, mesh: Mesh) -> TrainState:
    """A copy of a state in checkpoint layout, sharded as the step takes it; the step may delete (donate) it."""
    state = to_devices(state, mesh.size)
    return jax.jit(lambda s: jax.tree.map(jnp.copy, s), out_shardings=shardings(mesh, state))(state)


def make_step_config(batch: int, patch_px: int, patches: int, *, learning_rate: float = 1e-4,
                     steps_per_call: int = 1) -> steps.StepConfig:
    """The paper's network and loss, with all patches in one shard."""
    return steps.StepConfig(make_model(16), optax.adam(learning_rate), losses.Coefficients(), WINDOW_PX, patch_px,
                            PatchLayout(patches, 1, batch), steps_per_call)


class Steps:
    """A training state and the compiled steps that advance it; only this class knows how training calls them."""

    def __init__(self, step_config: steps.StepConfig, state: TrainState, sources, order,
                 train_steps: Callable | None = None):
        self.state, self._rest = state, (sources, order, np.int32(step_config.steps_per_call))
        self._train_steps = train_steps or steps.make_train_step(step_config)

    def run(self) -> list[float]:
        """Runs `step_config.steps_per_call` steps, waits for them, and returns the mean loss of each."""
        self.state, means = self._train_steps(self.state, *self._rest)
        return np.asarray(means["loss"]).tolist()

    def compiled(self) -> jax.stages.Compiled:
        """The compiled module that `run` calls."""
        return self._train_steps.lower(self.state, *self._rest).compile()


class JaxTraining:
    """What is timed at one shape: the training step and the network alone; each is made on first use."""

    def __init__(self, inputs: dict[str, np.ndarray], steps_per_call: int | None = None):
        if steps_per_call is None:
            steps_per_call = 1 if jax.default_backend() == "cpu" else GPU_STEPS_PER_CALL
        self.inputs = inputs
        params = {name.removeprefix("param/"): value for name, value in inputs.items() if name.startswith("param/")}
        self.params = jax.tree.map(jnp.asarray, unflatten(params))
        levels = inputs["levels"]
        self.step_config = make_step_config(inputs["order"].shape[1], levels.shape[2], len(levels),
                                            learning_rate=float(inputs["learning_rate"]),
                                            steps_per_call=steps_per_call)
        self.planes = jnp.asarray(levels[inputs["order"][0]], jnp.float32) / 255

    @functools.cached_property
    def steps(self) -> Steps:
        """Training steps from a state with four remembered epochs."""
        order = jax.device_put(self.inputs["order"][None])
        return Steps(self.step_config, place(self.state(self.bank()), one_device()), self.sources, order)

    @functools.cached_property
    def sources(self) -> Sources:
        """The patches on the device, each as a picture of its own."""
        step_config = self.step_config
        pairs = [TrainingPair(i, planes) for i, planes in enumerate(self.inputs["levels"])]
        table = np.stack([np.arange(len(pairs)), *np.zeros((2, len(pairs)), int)], 1).astype(np.int32)
        return put_sources(TrainingSet(pairs, table, step_config.layout, step_config.patch_px), one_device())

    def state(self, bank) -> TrainState:
        """The state before the first step, in checkpoint layout, as NumPy arrays."""
        params = jax.tree.map(np.array, self.params)
        return TrainState(np.zeros((), np.int32), params, jax.device_get(self.step_config.optimizer.init(params)), bank)

    def bank(self) -> memory.MemoryBank:
        """A bank of four remembered epochs with their scores."""
        remembered, planes = self.inputs["remembered"], jnp.asarray(self.inputs["levels"], jnp.float32) / 255
        empty = jax.device_get(memory.init_bank(len(planes), REMEMBERED, planes.shape[-1]))
        score = jax.vmap(losses.source_score, (1, None), 1)
        scores = score(memory.dequantize(jnp.asarray(remembered)), planes)
        return memory.MemoryBank(
            images=np.concatenate([remembered, empty.images[:, :1]], 1),
            scores=np.concatenate([scores, empty.scores[:, :1]], 1), sharpness=empty.sharpness, slots=empty.slots,
            epochs=np.arange(1, REMEMBERED + 1, dtype=np.int32), epoch_sharpness=empty.epoch_sharpness,
            free=empty.free)

    def network(self, case: str) -> tuple[Callable, jax.stages.Compiled]:
        """The network alone on patches already cut: a function that runs it, and the compiled module that it calls.

        Args:
          case: "forward", or "network" for the forward and backward pass of the mean squared output.
        """
        pictures = jnp.moveaxis(self.planes, 1, -1)

        def apply(params, x):
            return self.step_config.model.apply({"params": params}, x)

        def mean_square(params, x):
            return jnp.mean(jnp.square(apply(params, x)))

        function = {"forward": apply, "network": jax.value_and_grad(mean_square)}[case]
        compiled = jax.jit(function).lower(self.params, pictures).compile(compiler_options=compiler_options())

        def run() -> None:
            jax.block_until_ready(compiled(self.params, pictures))

        return run, compiled
