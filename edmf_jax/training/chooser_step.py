"""The training step of the chooser: simulated and real shots, loss, Adam, and a running mean of the parameters."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from ml_collections import ConfigDict

from edmf_jax.core import chooser, chooser_layout
from edmf_jax.core.focus import focus_masks
from edmf_jax.core.hand_made import gray, hand_made_logits, noise_energy
from edmf_jax.core.losses import Coefficients, current_loss, weighted_sum
from edmf_jax.core.ssim import ssim
from edmf_jax.simulate.batch import Batch
from edmf_jax.training.state import TrainState

_SOFT = 2e-3  # half an 8-bit level: smaller errors count squared, larger ones as they are
_LEAST_MSE = 1e-6
_QUIETER = 0.5  # a picture has quieter parts than a patch of it, by about so much


class Averaged(NamedTuple):
    """State of `averaged`: the optimizer's own, and the running mean of the parameters."""

    optimizer: optax.OptState
    average: chooser.Params


def averaged(optimizer: optax.GradientTransformation, decay: float) -> optax.GradientTransformation:
    """An optimizer that keeps a running mean of the parameters; of the first ones with a shorter memory."""
    def init(params):
        return Averaged(optimizer.init(params), jax.tree.map(jnp.copy, params))

    def update(gradients, state, params):
        updates, inner = optimizer.update(gradients, state.optimizer, params)
        count = optax.tree.get(inner, "count").astype(jnp.float32)
        keep = jnp.minimum(decay, (1 + count) / (10 + count))
        moved = optax.apply_updates(params, updates)
        return updates, Averaged(inner, jax.tree.map(lambda a, p: keep * a + (1 - keep) * p, state.average, moved))

    return optax.GradientTransformation(init, update)


def make_optimizer(config: ConfigDict, rate: jax.Array | float | None = None) -> optax.GradientTransformation:
    """Adam on gradients of norm 1 at most; if no rate is given it rises, and falls along a cosine to a fiftieth."""
    train = config.train
    schedule = optax.linear_schedule(0.0, train.learning_rate, train.warmup_steps)
    if train.decay_steps:
        schedule = optax.warmup_cosine_decay_schedule(0.0, train.learning_rate, train.warmup_steps, train.decay_steps,
                                                      train.learning_rate / 50)
    if rate is not None:
        schedule = lambda done: rate
    adam = optax.scale_by_adam(b1=0.9, b2=0.99)
    return averaged(optax.chain(optax.clip_by_global_norm(1.0), adam, _scale_by(schedule)), train.average)


class _Steps(NamedTuple):
    """State of `_scale_by`."""

    done: jax.Array


def _scale_by(rate: optax.Schedule) -> optax.GradientTransformation:
    # optax's own counts its steps as well; `averaged` wants only Adam's count to be called "count".
    def update(updates, state, params=None):
        return jax.tree.map(lambda u: -rate(state.done) * u, updates), _Steps(state.done + 1)

    return optax.GradientTransformation(lambda params: _Steps(jnp.zeros((), jnp.int32)), update)


def initial_state(config: ConfigDict) -> TrainState:
    """The state before step 0."""
    params = chooser.init_params(jax.random.key(config.seed), chooser.SIZES[config.model.size])
    return TrainState(jnp.zeros((), jnp.int32), params, make_optimizer(config).init(params), ())


def starting_from(state: TrainState, params: chooser.Params) -> TrainState:
    """`initial_state` with other parameters."""
    params = jax.tree.map(jnp.asarray, params)
    average = jax.tree.map(jnp.copy, params)
    return TrainState(state.step, params, state.opt_state._replace(average=average), ())


def shots_of(batch: Batch) -> chooser.Shots:
    """What the network sees of a batch; the patches' edges are no edges of the shots."""
    return _seen(batch.pixels, batch.valid, batch.clipped, _QUIETER * noise_energy(batch.pixels))


def whole_shots(pixels: jax.Array, noise: jax.Array) -> chooser.Shots:
    """What the network sees of shots `[B, N, H, W, C]` in [0, 1] that cover every pixel; `noise`: of each, `[B, N]`."""
    valid = pixels[..., 0] >= 0  # everywhere; of a constant, XLA computes for minutes while it compiles
    return _seen(pixels, valid, (pixels >= chooser_layout.CLIPPED).any(-1).astype(jnp.float32), noise)


def _seen(pixels: jax.Array, valid: jax.Array, clipped: jax.Array, noise: jax.Array) -> chooser.Shots:
    return chooser.Shots(pixels, hand_made_logits(pixels, valid, noise, rim=False), valid, clipped)


def real_loss(params: chooser.Params, real: jax.Array, config: ConfigDict) -> jax.Array:
    """The paper's loss (Eqs. 2, 4, 6 and 7, with `core.losses`' coefficients) of real pairs by the network, `[]`.

    Without Eq. 8, the memory of what the sharpest epochs made of each patch: patches that are cut at random do not come
    again, so there are no epochs, and the simulation's truth, in the same step, is a better guard against drift.

    Args:
      params: the network's.
      real: uint8 `[R, 2, P, P, 3]`, registered and leveled.
      config: the whole one.
    """
    pixels = real.astype(jnp.float32) / 255
    shots = whole_shots(pixels, _QUIETER * noise_energy(pixels))
    weights = chooser.softmax(chooser.choose(params, shots, jnp.dtype(config.model.dtype))[0])
    return paper_loss(weights, gray(pixels), config.loss.edge_px)


def paper_loss(weights: jax.Array, planes: jax.Array, edge_px: int) -> jax.Array:
    """Eq. 7 of pairs of gray `planes` `[R, 2, P, P]`, blended by `weights` of that shape, without their edges."""
    masks = jnp.stack(focus_masks(planes[:, 0], planes[:, 1]), 1)
    inner = slice(edge_px, planes.shape[2] - edge_px)
    weights, planes, masks = (x[:, :, inner, inner] for x in (weights, planes, masks))
    return weighted_sum(current_loss((weights * planes).sum(1), planes, masks), Coefficients()).mean()


def picture_loss(picture: jax.Array, target: jax.Array, config: ConfigDict) -> tuple[jax.Array, jax.Array]:
    """A loss of pictures `[B, H, W, 3]`, and each one's mean squared error.

    Absolute errors of pixels and of their differences, squared errors, structure of luma, and the logarithm of each
    picture's squared error: without it copying is not learned to the end, because easy samples weigh nothing.
    """
    soft = lambda x: (jnp.sqrt(x * x + _SOFT**2) - _SOFT).mean()
    d = picture - target
    squared = jnp.square(d).mean((1, 2, 3))
    slopes = soft(d[:, 1:] - d[:, :-1]) + soft(d[:, :, 1:] - d[:, :, :-1])
    structure = 1 - ssim(gray(picture), gray(target)).mean()
    decibels = jnp.log(squared + _LEAST_MSE).mean()
    loss = soft(d) + 4 * squared.mean() + 0.5 * slopes + config.ssim_weight * structure
    return loss + config.decibel_weight * decibels, squared


def choice_loss(logits: jax.Array, error: jax.Array, levels: float) -> jax.Array:
    """Cross-entropy of the weights against the shots that are near the target, `[]`.

    A shot whose error is larger than the least one by e is right with exp(−e / levels): where all shots are equally
    right, any mean of them is, so noise may be averaged.

    Args:
      logits: `[B, N, H, W]`, −∞ where not valid.
      error: `[B, N, H, W]`, ∞ where not valid.
      levels: 8-bit levels.
    """
    excess = (error - error.min(1, keepdims=True)) * (255 / levels)
    log_weights = jax.nn.log_softmax(logits, 1)
    return -jax.nn.logsumexp(jnp.where(jnp.isfinite(error), log_weights - excess, -jnp.inf), 1).mean()


def loss_and_report(params: chooser.Params, batch: Batch, config: ConfigDict, real: jax.Array | None = None
                    ) -> tuple[jax.Array, dict]:
    """The loss of a batch and of `real` pairs, and numbers for the log: PSNR in dB by hand, by network, repaired."""
    loss, edge = config.loss, config.loss.edge_px
    inner = lambda x, axis: jax.lax.slice_in_dim(jax.lax.slice_in_dim(
        x, edge, x.shape[axis] - edge, axis=axis), edge, x.shape[axis + 1] - edge, axis=axis + 1)
    shots = shots_of(batch)
    logits, repairs = chooser.choose(params, shots, jnp.dtype(config.model.dtype))
    pixels, target = inner(batch.pixels, 2), inner(batch.target, 1)
    choice = chooser.choice(inner(logits, 2), inner(repairs, 2))
    mean = (choice.weights[..., None] * pixels).sum(1)
    chosen = choice_loss(inner(logits, 2), inner(batch.error, 2), loss.choice_levels)
    weights_loss, squared = picture_loss(mean, target, loss)
    repaired_loss, repaired = (picture_loss(jax.lax.stop_gradient(mean) + choice.repair, target, loss)
                               if loss.repair_weight else (0.0, squared))
    hand = chooser.softmax(inner(jnp.where(batch.valid, shots.hand, -jnp.inf), 2))
    by_hand = jnp.square((hand[..., None] * pixels).sum(1) - target).mean((1, 2, 3))
    total = weights_loss + loss.choice_weight * chosen + loss.repair_weight * repaired_loss
    psnr = lambda x: -10 * jnp.log10(x + 1e-7).mean()
    report = {"choice": chosen, "psnr_hand_made": psnr(by_hand), "psnr_weights": psnr(squared),
              "psnr_repaired": psnr(repaired)}
    if real is not None:
        report["real"] = real_loss(params, real, config)
        total = total + loss.real_weight * report["real"]
    return total, {"loss": total, **report}


def train_on(state: TrainState, batch: Batch, config: ConfigDict, rate: jax.Array | float | None = None,
             real: jax.Array | None = None) -> tuple[TrainState, dict]:
    """One step on a batch and on `real` pairs, see `real_loss`; at the configuration's learning rate or at `rate`."""
    gradients, report = jax.grad(loss_and_report, has_aux=True)(state.params, batch, config, real)
    report["gradient_norm"] = optax.tree.norm(gradients)
    updates, opt_state = make_optimizer(config, rate).update(gradients, state.opt_state, state.params)
    return TrainState(state.step + 1, optax.apply_updates(state.params, updates), opt_state, ()), report
