"""What a fusion is asked for: its options from the arguments of a call, and the weights that they need."""

import os
from collections.abc import Callable

from edmf_jax.errors import MissingFileError, UserError
from edmf_jax.fusion import stack
from edmf_jax.fusion.stack.options import Chooser
from edmf_jax.weights.chooser_params import SHIPPED as SHIPPED_CHOOSER
from edmf_jax.weights.chooser_params import find_chooser
from edmf_jax.weights.params import HOW_TO_GET_WEIGHTS
from edmf_jax.weights.store import Weights, load_pretrained, load_weights

PRESETS = ("photo", "paper")
SHIPPED = "edmf"  # the weights that are used where none are named
HAND_MADE = "none"  # names the choice among the shots without a network
AnyWeights = Weights | Chooser | str | os.PathLike | None


def make_options(preset: str, count: int, weights, **given) -> stack.PhotoOptions | None:
    """`PhotoOptions` from the arguments that are not None; None for preset "paper".

    Raises:
      UserError: an unknown preset, an option that it does not have, weights that would not be used, or a wrong number
        of pictures.
    """
    given = {name: value for name, value in given.items() if value is not None}
    if preset not in PRESETS:
        raise UserError(f"preset {preset!r} is unknown; use one of {', '.join(PRESETS)}")
    check_weights(weights, preset, given.get("pixels"))
    if preset == "photo":
        if count < 2:
            raise UserError(f"two or more pictures are fused, got {count}")
        if fuses_luma(weights):
            given.setdefault("pixels", "network")
        options = stack.PhotoOptions(**given)
        options.check()
        return options
    if given:
        name, value = next(iter(given.items()))
        option = f" (--{value}-first)" if name == "tie" else ""  # the only one that the command calls otherwise
        raise UserError(f'{name}={value!r}{option} is for the preset "photo"; leave it out, or leave out the preset '
                        '"paper"')
    if count != 2:
        raise UserError(f'the preset "paper" fuses two pictures, got {count}; the preset "photo" takes any number')
    return None


def check_weights(weights: AnyWeights, preset: str, pixels: str | None) -> None:
    """Checks that weights are of the kind that a fusion uses, before anything is loaded.

    Args:
      weights: as given to `fuse`.
      preset, pixels: see `fuse`; `pixels` may be None.

    Raises:
      UserError: they are not; or `pixels="network"` is missing a network.
    """
    if fuses_luma(weights):
        if preset == "photo" and pixels == "shots":
            raise UserError('weights are given, but pixels="shots" uses no network that fuses luma; leave out one of '
                            'them, or give weights="chooser"')
    elif weights is not None and (preset == "paper" or pixels == "network"):
        name = weights.name if isinstance(weights, Chooser) else str(weights)
        what = "no network" if weights == HAND_MADE else "a network that chooses among shots"
        asked = 'preset="paper"' if preset == "paper" else 'pixels="network"'
        raise UserError(f"weights={name!r} is {what}, but {asked} needs one that fuses luma; leave out one of them")


def is_chooser(weights: AnyWeights) -> bool:
    """Whether these weights, as given to `fuse`, are those of the network that chooses among the shots."""
    if isinstance(weights, (str, os.PathLike)):
        return find_chooser(weights) is not None
    return isinstance(weights, Chooser)


def fuses_luma(weights: AnyWeights) -> bool:
    """Whether these weights, as given to `fuse`, are those of a network that fuses luma; False if none are given."""
    return weights is not None and weights != HAND_MADE and not is_chooser(weights)


def used_weights(options: stack.PhotoOptions | None, weights: AnyWeights, log: Callable[[str], None] = lambda line: None
                 ) -> Weights | Chooser | None:
    """The weights of the network that a fusion runs; None if it runs none.

    Args:
      options: of the preset "photo"; None: the preset "paper".
      weights: as given to `fuse`.
      log: see `resolve_weights`.

    Raises:
      MissingFileError, UserError: see `resolve_weights`.
    """
    if options is not None and options.pixels == "shots":
        if weights == HAND_MADE:
            return None
        weights = SHIPPED_CHOOSER if weights is None else weights
    return resolve_weights(weights, log)


def resolve_weights(weights: AnyWeights, log: Callable[[str], None] = lambda line: None) -> Weights | Chooser:
    """Loads weights given by folder, file or name; None: the shipped ones of the network that fuses luma.

    `log` is called with a line if a network that chooses is loaded here and JAX computes it, which takes longer.

    Raises:
      UserError: none are given and none ship; they are float64 and JAX is not in its 64-bit mode.
      MissingFileError: no such folder or name.
    """
    if weights is None:
        try:
            weights = load_pretrained(SHIPPED)
        except MissingFileError as error:
            raise UserError("weights: none given, and none ship with this version yet; "
                            f"{HOW_TO_GET_WEIGHTS}") from error
    if isinstance(weights, Chooser):
        return weights
    if is_chooser(weights):
        from edmf_jax.fusion.stack import chooser_engine

        chooser = chooser_engine.load(weights)
        if not isinstance(chooser.engine, chooser_engine.OpenCvEngine):
            log(f"the network that chooses among the shots runs in {chooser.runtime}, compiled for each size; if the "
                "package onnx is installed, OpenCV runs it without that")
        return chooser
    if not isinstance(weights, Weights):
        weights = load_weights(weights)
    if weights.config["model"]["dtype"] == "float64" and not _computes_in_64_bits():
        raise UserError(f'weights {weights.name}: model.dtype="float64" needs JAX\'s 64-bit mode; set JAX_ENABLE_X64=1')
    return weights


def _computes_in_64_bits() -> bool:
    import jax  # at the head of the file it would cost the fusions that need none half a second

    return bool(jax.config.jax_enable_x64)
