"""How the shots of a stack lie in one frame: registers them, decides what happens to those that can't be placed, warps.

A shot is registered on small copies (`registration.views`).  It is warped strip by strip: the positions of all pixels
of a 48 MP picture at once would take over a gigabyte.
"""

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np

from edmf_jax.errors import UserError
from edmf_jax.fusion.pixels import shrink_back
from edmf_jax.fusion.stack import shots as shots_
from edmf_jax.fusion.stack.bad_shots import BadShot, check_placed, check_refused
from edmf_jax.fusion.stack.options import PhotoOptions
from edmf_jax.fusion.stack.shots import Shot
from edmf_jax.fusion.stack.sketches import Refused, Sketch, sketch_all
from edmf_jax.registration import Registration, register_stack, warp
from edmf_jax.registration.threads import on_all_cores
from edmf_jax.registration.warping import warp_mask
from edmf_jax.runtime.process import give_back_memory

_STRIP_PX = 256
_TRIM_FROM_PX = 1e7  # of all copies: what fewer leave behind is not worth 30 ms
ignore: Callable[[str, str], None] = lambda name, reason: None


def log_left_out(log: Callable[[str], None]) -> Callable[[str, str], None]:
    """A `left_out` callback that logs a line for each shot."""
    return lambda name, reason: log(f"{name}: left out, {reason}")


@dataclasses.dataclass(frozen=True)
class Alignment:
    """Which shots are used, and how they lie in the frame of the reference.

    Attributes:
      used: the numbers of the shots that are used, the reference first.
      registrations: number → map from the reference; None for the reference, and for all with `align="none"`.
      left_out: number → why the shot is not used.
      copies: those of them that are the same picture as a shot before them, so that nothing is missing.
    """

    used: tuple[int, ...]
    registrations: Mapping[int, Registration | None]
    left_out: Mapping[int, str] = dataclasses.field(default_factory=dict)
    copies: frozenset[int] = frozenset()


Known = Callable[[Sequence[tuple[int, ...] | None]], Alignment]
"""An alignment from an earlier run, as a function of the shapes of the shots; None for one that can't be used."""


def align_sketches(sketches: Sequence[Sketch | Refused], names: Sequence[str], options: PhotoOptions, *,
                   known: Known | None = None, report: Callable[[float], None] = lambda share: None,
                   left_out: Callable[[str, str], None] = ignore, warn: Callable[[str], None] = lambda line: None
                   ) -> Alignment:
    """Registers the shots, or takes a known alignment, and tells at once which shots will not be used.

    A shot that is the same picture as one before it is left out of three and more: it adds nothing, and nothing is
    missing without it.  So is one that can't be used (black, damaged, of the wrong size).

    Args:
      sketches, names: of the shots, the one whose frame is wanted first.
      options: `align`, `model` and `on_bad_shot`.
      known: an alignment to take instead; only its shots are used.
      report: called with the share of the work that is done.
      left_out: called with the name and the reason of each shot that is not used and would be missed.
      warn: called with a line for each copy that is not used, and for each map that is used in spite of doubts.

    Raises:
      UserError: shots can't be placed and `options` does not allow to go on without them; fewer than two are left.
    """
    refused = {number: one.error for number, one in enumerate(sketches) if isinstance(one, Refused)}
    check_refused(refused, names, options)
    found = None if known is None else known([None if number in refused else one.shape
                                              for number, one in enumerate(sketches)])
    usable = [number for number in range(len(sketches)) if number not in refused]
    repeated = _find_repeated(sketches, names, usable if found is None else found.used)
    distinct = [number for number in usable if number not in repeated]
    if found is None and options.align == "none":
        found = Alignment(tuple(distinct), dict.fromkeys(distinct))
    elif found is None:
        found = _register([sketches[number] for number in distinct], distinct, names, options, report, warn, refused)
    found = dataclasses.replace(found, used=tuple(number for number in found.used if number not in repeated),
                                left_out={**found.left_out, **repeated,
                                          **{number: error.reason for number, error in refused.items()}},
                                copies=found.copies.union(repeated))
    tell_of_copy = log_left_out(warn)
    for number, reason in sorted(found.left_out.items()):
        (tell_of_copy if number in found.copies else left_out)(names[number], reason)
    if known is not None:
        for number in found.used:
            one = found.registrations[number]
            if one is not None and not one.confident:
                warn(f"{names[number]}: its place was uncertain when it was registered ({one.doubts})")
    return found


def _find_repeated(sketches: Sequence[Sketch], names: Sequence[str], numbers: Sequence[int]) -> dict[int, str]:
    """Those of the shots `numbers` that are the same picture as one before them, and the line that says so.

    Raises:
      UserError: no two different shots are left.
    """
    seen: dict[bytes, int] = {}
    repeated = {}
    for number in numbers:
        first = seen.setdefault(sketches[number].digest, number)
        if first != number:
            repeated[number] = f"it is the same picture as {names[first]}"
    if len(seen) < 2:
        first, second = numbers[:2]
        raise UserError(f"{names[second]} is the same picture as {names[first]}; give every shot once")
    return repeated


def _register(sketches: Sequence[Sketch], numbers: Sequence[int], names: Sequence[str], options: PhotoOptions,
              report: Callable[[float], None], warn: Callable[[str], None], refused: Mapping[int, BadShot]
              ) -> Alignment:
    """The alignment of the shots that `numbers` names; `refused` are others, which can't be used."""
    best_effort = options.align == "best-effort"
    found = register_stack([one.view for one in sketches], [one.digest for one in sketches], model=options.model,
                           method="pso-sift" if best_effort else options.align, best_effort=best_effort,
                           progress=report)
    if sum(one.view.copied_pixels for one in sketches) > _TRIM_FROM_PX:
        give_back_memory()
    shown = [names[number] for number in numbers]
    reasons = {number: reason.format(*shown) for number, reason in found.left_out.items()}
    check_placed({numbers[i]: reason for i, reason in reasons.items()}, refused, names, len(numbers), options)
    for number, one in enumerate(found.registrations):
        if one is not None and not one.confident:
            because = " because of --align best-effort" if best_effort else " all the same"
            warn(f"{shown[number]}: its place is uncertain, and used{because} ({one.doubts})")
        elif one is not None and one.in_place:
            warn(f"{shown[number]}: shows too little to register by; taken as it is, because it lies like "
                 f"{shown[one.neighbor]}")
    used = [found.reference, *(i for i, one in enumerate(found.registrations) if one is not None)]
    placed = {numbers[i]: one and dataclasses.replace(one, neighbor=numbers[one.neighbor])
              for i, one in enumerate(found.registrations) if i in used}
    return Alignment(tuple(numbers[i] for i in used), placed,
                     {numbers[i]: f"it can't be placed: {reason}" for i, reason in reasons.items()})


def align_photos(shots: Sequence[Shot], names: Sequence[str] | None = None, *, options: PhotoOptions,
                 known: Known | None = None, progress: Callable[[str, float], None] | None = None,
                 left_out: Callable[[str, str], None] = ignore, warn: Callable[[str], None] = lambda line: None,
                 aligned: Callable[[Alignment, Sequence[Sketch]], None] = lambda alignment, sketches: None,
                 ) -> Iterator[tuple[int, np.ndarray, np.ndarray, Registration | None]]:
    """Warps each shot into the frame of the first one.

    Args:
      shots: the reference first; see `shots.Shot`.  Each is read twice.
      names: for messages; `shots[0]`, … where None.
      options: only `align`, `model` and `on_bad_shot` matter.
      known, left_out, warn: as for `align_sketches`.
      progress: called with a few words and the share of the work that is done, in [0, 1].
      aligned: called once, before anything is warped, with the alignment and what it was found on.

    Yields:
      For each shot that is used, in order: its number; the picture in the reference's height, width and layout and in
      the shot's own dtype (floats as float32); bool `[H, W]`, True where it covers the frame (the picture is 0
      elsewhere); its registration, None for the reference and with `align="none"`.

    Raises:
      UserError: as `fuse_photos`.
    """
    options.check()
    names = shots_.checked_names(shots, names)
    report = progress or (lambda what, share: None)
    as_given = shots_.as_masked(shots[0])
    white = shots_.find_white(shots, as_given)
    report(f"looking at {names[0]}", 0.0)
    counts = iter(range(1, len(shots)))
    sketches = sketch_all([as_given, *shots[1:]], names, white=white,
                          with_views=options.align != "none" and known is None,
                          same_size=options.align == "none" and known is None,
                          report=lambda what: report(what, 0.3 * next(counts) / len(shots)))
    found = align_sketches(sketches, names, options, known=known, left_out=left_out, warn=warn,
                           report=lambda share: report("registering", 0.3 + 0.4 * share))
    shape, layout = sketches[found.used[0]].shape, None
    aligned(found, sketches)
    del as_given, sketches
    for done, number in enumerate(found.used):
        report(f"warping {names[number]}", 0.7 + 0.3 * done / len(found.used))
        as_given = shots_.as_masked(shots[number])
        layout = layout or as_given.image.ndim  # the reference comes first
        registration = found.registrations[number]
        if registration is None and as_given.mask is None:
            yield number, as_given.image, np.ones(as_given.image.shape[:2], bool), None
            continue
        if registration is None:
            yield number, _without_holes(as_given.image, as_given.mask), as_given.mask, None
            continue
        moving, mask = shots_.read_masked(as_given, names[number], white)
        image, valid = warp_to_reference(moving, registration, shape, mask)
        if white is not None and image.dtype == np.uint16:
            image = shrink_back(image, white)
        image = image if mask is None else _without_holes(image, valid)
        yield number, image if layout == 3 else image[..., 0], valid, registration
    report("registered", 1.0)


def _without_holes(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """A copy that is 0 where `mask` is False."""
    return image * mask.reshape(mask.shape + (1,) * (image.ndim - 2))


def warp_to_reference(moving: np.ndarray, registration: Registration | None, shape: tuple[int, ...],
                      mask: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    """`registration.warp` of `[h, w, C]` in strips of the result.

    Args:
      moving: the shot, without holes.
      registration: None: the shot is in the reference's frame.
      shape: of the reference.
      mask: bool `[h, w]`, which pixels the shot has; None: all.

    Returns:
      The warped picture `[H, W, C]` of height and width `shape[:2]`, 0 outside the shot; and where the shot has pixels,
      bool `[H, W]`.
    """
    height, width = shape[:2]
    if registration is None:
        return moving, np.ones((height, width), bool) if mask is None else mask
    image, valid = np.empty((height, width, moving.shape[2]), moving.dtype), np.empty((height, width), bool)
    source = shots_.squeeze_gray(moving)
    limits = source.min(), source.max()

    def warp_strip(top: int) -> None:
        rows = slice(top, min(top + _STRIP_PX, height))
        strip = rows.stop - top, width
        warped, valid[rows] = warp(source, registration.matrix, strip, flow=registration.flow, top=top, limits=limits)
        image[rows] = warped.reshape(image[rows].shape)
        if mask is not None:
            valid[rows] &= warp_mask(mask, registration.matrix, strip, flow=registration.flow, top=top)

    on_all_cores(warp_strip, range(0, height, _STRIP_PX))
    return image, valid
