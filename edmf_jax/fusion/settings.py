"""What a fusion is asked for: its options from the arguments of a call, and the weights that they need."""

import os

from edmf_jax.errors import MissingFileError, UserError
from edmf_jax.fusion import stack
from edmf_jax.weights.store import HOW_TO_GET_WEIGHTS, Weights, load_pretrained, load_weights

PRESETS = ("photo", "paper")
SHIPPED = "edmf"  # the weights that are used where none are named


def make_options(preset: str, count: int, weights, **given) -> stack.PhotoOptions | None:
    """`PhotoOptions` from the arguments that are not None; None for preset "paper".

    Raises:
      UserError: an unknown preset, an option that it does not have, weights that would not be used, or a wrong number
        of pictures.
    """
    given = {name: value for name, value in given.items() if value is not None}
    if preset not in PRESETS:
        raise UserError(f"preset {preset!r} is unknown; use one of {', '.join(PRESETS)}")
    if preset == "photo":
        if count < 2:
            raise UserError(f"two or more pictures are fused, got {count}")
        if weights is not None and given.setdefault("pixels", "network") == "shots":
            raise UserError('weights are given, but pixels="shots" uses no network; leave out one of them')
        options = stack.PhotoOptions(**given)
        options.check()
        return options
    if given:
        name, value = next(iter(given.items()))
        raise UserError(f'{name}={value!r} is for the preset "photo"; leave it out, or leave out the preset "paper"')
    if count != 2:
        raise UserError(f'the preset "paper" fuses two pictures, got {count}; the preset "photo" takes any number')
    return None


def needs_network(options: stack.PhotoOptions | None) -> bool:
    """Whether a fusion with these options (None: preset "paper") needs weights."""
    return options is None or options.pixels == "network"


def resolve_weights(weights: Weights | str | os.PathLike | None) -> Weights:
    """Loads weights given by folder or name; None: the shipped ones.

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
    if not isinstance(weights, Weights):
        weights = load_weights(weights)
    if weights.config["model"]["dtype"] == "float64" and not _computes_in_64_bits():
        raise UserError(f'weights {weights.name}: model.dtype="float64" needs JAX\'s 64-bit mode; set JAX_ENABLE_X64=1')
    return weights


def _computes_in_64_bits() -> bool:
    import jax  # at the head of the file it would cost the fusions that need none half a second

    return bool(jax.config.jax_enable_x64)
