"""How a shot's tone differs from the reference's, from registered small copies, and how much of it can be told.

Models of rising freedom (`tone_model`) are fitted to samples (`tone_samples`), and each must predict parts of the
picture that it has not seen clearly better than the one before it.

* If nothing predicts clearly better than "equal", the shots are equal.  Blur makes shots differ from place to place,
  and by which values were blurred also in the mean: so that is asked under both kinds of blur.
* The blur under which the shots are compared is 2 % of the copy's diagonal, and 4 or 8 % where that changes the curve:
  then one shot is defocused by more.  At 8 % too few independent samples are left for more than gain and balance.
* If a smooth field of gain explains at least half of what the best curve leaves, it is taken.  If neither
  explains the difference, only gain is, and a note says so.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from edmf_jax.core.color import linear_to_srgb, srgb_to_linear
from edmf_jax.fusion.stack import gain_field, tone_model
from edmf_jax.fusion.stack.gain_field import GainField
from edmf_jax.fusion.stack.tone import GRID, reference_curve
from edmf_jax.fusion.stack.tone_model import Fit, spread
from edmf_jax.fusion.stack.tone_samples import Copies, Copy, Samples, along, small_copies

_BLUR_SHARES = 0.02, 0.04, 0.08  # σ of the blur, as shares of the copy's diagonal
_BLOCKS = 5, 5, 3  # the picture is cut into so many × so many, each several σ wide
_FULL = "gain", "balance", "gamma", "differences", "bend"
_LADDER = (("gain",), 1.0), (("gain", "balance"), 0.93), (_FULL, 0.93)
"""Models, and the share of the spread before it that each may leave at most."""
_EQUAL = 0.6  # a model that leaves more than this share of the difference has not found one
_FIELD = 0.5  # a field must leave no more than this share of what the curve left …
_FIELD_WIDER = 0.7  # … and under a wider blur no more than before, or than this share of what a curve leaves there:
# what defocus does changes with the blur, light does not
_FIELD_FROM = 1.5 / 255  # … which was at least this
_SAME = 1 / 255  # a spread below which nothing is leveled
_UNLIKE = 8 / 255  # a spread from which on a shot that is not leveled is worth a note
_FIELD_COVERAGE = 0.6  # share of the picture's blocks that must have samples: polynomials run away elsewhere
_UNEXPLAINED = 4 / 255  # a spread from which on a model does not describe the difference
_DRIFT = 1.3 / 255  # curves that differ by less between two blurs are the same
_ENCODED_BLUR = 0.93  # blur counts as one of encoded values if that leaves less than this share of the spread
_MIN_SAMPLES = 30  # for each channel
_DARKEST = 0.001  # quantile
NOTE = ("its light differs from the reference's from place to place, in a way that neither a tone curve nor a smooth "
        "field explains; only its brightness is leveled")
NOTE_EQUAL = NOTE.replace("only its brightness is leveled", "it is not leveled")


class Difference(NamedTuple):
    """How a shot's tone differs from the reference's.

    Attributes:
      curve: `[C, len(tone.GRID)]` float64: its values where the reference has the values `GRID`; rising, then 1.
      field: of gain in light; None: the curve is enough.
      note: what the user should know, to follow the shot's name and a colon; or None.
    """

    curve: np.ndarray
    field: GainField | None
    note: str | None


def compare(reference: np.ndarray | Copy, moving: np.ndarray, valid: np.ndarray, each: Callable = map) -> Difference:
    """Compares two small copies in one frame.

    Args:
      reference: float32 `[h, w, C]` in [0, 1], encoded; or its `tone_samples.small_copy`, for several shots.
      moving: like it.
      valid: bool `[h, w]`: True where both have pixels.
      each: `map`, or that of a pool with free threads.
    """
    equal = reference_curve(moving.shape[2])
    copies = small_copies(reference, moving, valid)
    both = list(each(lambda in_light: _View(copies, 1, in_light), (True, False)))
    if not all(view.can_tell for view in both):
        return Difference(equal, None, None)  # nothing to compare: the exposures are taken as equal
    middle, other = both if both[1].spread >= _ENCODED_BLUR * both[0].spread else both[::-1]
    view, found, left = _explain(copies, middle, each)
    explained = left <= _UNEXPLAINED
    if not explained:
        found = tone_model.fit(view.samples, _FULL[:1], view.knots)
        left = spread(view.samples, found.held_out(view.samples, view.block_count))
    if _EQUAL * min(view.as_equal, other.as_equal) < max(left, _EQUAL * _SAME):
        return Difference(equal, None, NOTE_EQUAL if left > _UNLIKE else None)
    if view.block_count < middle.block_count:  # compared under so wide a blur that only gain and balance can be told
        explained = middle.spread <= _UNEXPLAINED
    has_field = "field" in found.parts
    field = gain_field.from_terms(found.part("field"), found.field_stops(view.samples)) if has_field else None
    return Difference(_finished(found, view.samples), field, None if explained else NOTE)


def _explain(copies: Copies, middle: "_View", each: Callable) -> tuple["_View", Fit, float]:
    """The blur under which shots are compared, the model that is worth it, and the spread that it leaves."""
    view = _View(copies, 0, middle.in_light, middle.full)
    found, left = view.climb(each)
    if left > _FIELD_FROM and view.coverage > _FIELD_COVERAGE:
        candidate, less = view.climb(each, with_field=True)
        wider = spread(middle.samples, candidate.residuals(middle.samples))
        if less < _FIELD * left and wider < max(less, _FIELD_WIDER * middle.spread):
            return view, candidate, less
    if view.apart(middle) <= _DRIFT:
        return view, found, left
    wide = _View(copies, 2, middle.in_light, middle.full)
    view = wide if wide.can_tell and middle.apart(wide) > _DRIFT else middle
    return view, *view.climb(each, freely=view is middle)


class _View:
    """Samples under one blur, and the full model of what they differ by."""

    def __init__(self, copies: Copies, which: int, in_light: bool, start: Fit | None = None):
        self.in_light, self.block_count = in_light, _BLOCKS[which]
        self.given = self.samples = Samples(copies, _BLUR_SHARES[which], in_light)
        self.can_tell = len(self.samples) >= _MIN_SAMPLES * self.samples.channels
        if not self.can_tell:
            return
        self.knots = tone_model.knots_of(self.samples)
        if start is None:
            start = tone_model.fit(self.samples, _FULL, self.knots)
        self.samples = self.given.harmonized(start.curves())
        self.full = tone_model.fit(self.samples, _FULL, self.knots, start)
        self.spread = spread(self.samples, self.full.held_out(self.samples, self.block_count))
        self.as_equal = spread(self.given, self.given.y - self.given.x)

    @property
    def coverage(self) -> float:
        """The share of the picture's blocks that have samples."""
        return len(np.unique(self.samples.blocks(self.block_count))) / self.block_count**2

    def climb(self, each: Callable = map, *, freely: bool = True, with_field: bool = False) -> tuple[Fit, float]:
        """The freest model that is worth it, and the spread that it leaves where it was not fitted."""
        def fitted(groups: tuple[str, ...]) -> tuple[Fit, float]:
            found = tone_model.fit(self.samples, (*groups, "field") if with_field else groups, self.knots, self.full)
            return found, spread(self.samples, found.held_out(self.samples, self.block_count))

        ladder, best = _LADDER[: None if freely else 2], None
        # The freest one, which takes the longest, is begun first.
        for (_, share), (found, left) in zip(ladder, list(each(fitted, [groups for groups, _ in ladder[::-1]]))[::-1]):
            if best is None or left < share * best[1]:
                best = found, left
        return best

    def apart(self, other: "_View") -> float:
        """How much the curves found under two blurs differ where the other one has samples, encoded."""
        between = self.full.curves() - other.full.curves()
        return spread(other.samples, along(other.samples.channel, other.samples.x, GRID, between))


def _finished(found: Fit, samples: Samples) -> np.ndarray:
    """The curves, clipped at white; below the darkest value that both shots have, one gain in light: black is black."""
    curves = found.curves()
    for c, curve in enumerate(curves):
        own = samples.x[samples.channel == c]
        if len(own):
            darkest = np.quantile(own, _DARKEST)
            ratio = srgb_to_linear(max(np.interp(darkest, GRID, curve), 1e-4)) / srgb_to_linear(darkest)
            curve[:] = np.where(darkest > GRID, linear_to_srgb(ratio * srgb_to_linear(GRID)), curve)
    return np.clip(np.maximum.accumulate(curves, -1), 0, 1)
