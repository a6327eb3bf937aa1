"""Shots that can't be used or placed: which run goes on without them, and the line that a run stops with."""

from collections.abc import Mapping, Sequence

from edmf_jax.errors import UserError
from edmf_jax.fusion.stack.options import PhotoOptions

_MAX_LEFT_OUT = 1 / 2  # of the shots; if so many can't be placed, the rest is not the scene either
_MAX_TOLD = 8  # shots that a message names


class BadShot(UserError):
    """A shot that can't be used, whatever the others show; a stack of three and more does without it.

    Attributes:
      reason: what is wrong, to follow "left out, ": "it is black all over".
      shape: of the picture, `(H, W, …)`; None if it could not be read.
    """

    def __init__(self, name: str, reason: str, way_out: str = "", shape: tuple[int, ...] | None = None):
        super().__init__(f"{name}: {reason.replace('it ', 'this shot ', 1)}{way_out and '; '}{way_out}")
        self.reason, self.shape = reason, shape


def check_refused(refused: Mapping[int, BadShot], names: Sequence[str], options: PhotoOptions) -> None:
    """Raises UserError if shots can't be used and the run should not go on without them.

    Args:
      refused: number → what is wrong with it.
      names: of all shots.
      options: `on_bad_shot`.
    """
    if len(names) == 2 and refused:
        raise next(iter(refused.values()))
    _check(_told(refused, names), len(names), options, "used", "leave them out")


def check_placed(reasons: Mapping[int, str], refused: Mapping[int, BadShot], names: Sequence[str], count: int,
                 options: PhotoOptions) -> None:
    """Raises UserError if shots can't be placed and the run should not go on without them.

    Args:
      reasons: number → why it can't be placed.
      refused: other shots, which can't be used.
      names: of all shots.
      count: of shots that were to be placed.
      options: `on_bad_shot`.
    """
    if reasons:
        told = {number: f"{names[number]}: cannot be registered{' ' if reason.startswith('to ') else ', '}{reason}"
                for number, reason in reasons.items()}
        _check(told | _told(refused, names), count + len(refused), options, "placed",
               "check that all show the same scene, or use one of these: --align best-effort takes the best maps there "
               "are, --align none if they are registered already")


def _told(refused: Mapping[int, BadShot], names: Sequence[str]) -> dict[int, str]:
    return {number: f"{names[number]}: {error.reason}" for number, error in refused.items()}


def _check(told: Mapping[int, str], count: int, options: PhotoOptions, what: str, way_out: str) -> None:
    """Raises UserError if the run should not go on without some shots; names them, up to 8.

    Args:
      told: number → name and reason.
      count: of all shots.
      options: `on_bad_shot`.
      what: can't be done with them.
      way_out: what to do about it.
    """
    may_skip = options.on_bad_shot == "skip" or (options.on_bad_shot == "auto" and count > 2)
    left = count - len(told)
    if not told or (may_skip and left >= 2 and len(told) <= _MAX_LEFT_OUT * count):
        return
    if not may_skip and left >= 2:
        way_out += ", --on-bad-shot skip goes on without"
    lines = [line for _, line in sorted(told.items())]
    listed = "; ".join(lines[:_MAX_TOLD] + [f"and {len(lines) - _MAX_TOLD} more"] * (len(lines) > _MAX_TOLD))
    before = f"{len(lines)} of {count} shots can't be {what}: " if count > 2 else ""
    raise UserError(f"{before}{listed}; {way_out}")
