"""A piece of a shot at the target exposure, and how much each pixel of it weighs, in jax.numpy.

Twin of `fusion.stack.leveling`, `aligned` and `borders.feathered_weight`; there is said what each step is for.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from edmf_jax.core.color import luma
from edmf_jax.core.piecewise import Place, box_taps, eroded, inner, windowed

FEATHER_PX = 8  # half the width of the transition from one shot to the other
FEATHER_REACH_PX = 2 * FEATHER_PX
MIN_WEIGHT = 1e-3  # of any pixel that the shot has
_CLIPPED, _SOFT = 0.985, 0.03  # values from here on are clipped; so far below begins the doubt


class Light(NamedTuple):
    """A field of gain and a correction of light that depends on the value: `leveling.Leveling` where it has these.

    Attributes:
      coefficients: of the field's Legendre polynomials in y and x, `[4, 4]`, in stops.
      bounds: the least and the largest value of the field, `[2]`.
      slope, offset: maps over the frame, `[h, w]`; stops = slope · root of light + offset.
      local_bounds: the least and the largest of these stops, `[2]`.
      brightest: the root of light at which `targets` end.
      targets: from the root of light, 0 … `brightest`, to the target exposure, `[C, 65536]`.
    """

    coefficients: jax.Array
    bounds: jax.Array
    slope: jax.Array
    offset: jax.Array
    local_bounds: jax.Array
    brightest: jax.Array
    targets: jax.Array


class Leveling(NamedTuple):
    """What brings a shot to the target exposure.

    Attributes:
      tables: of its values, `[C, 256]` for uint8, `[C, 65536]` for uint16 and for floats, which are interpolated.
      loss: how much its clipping hides, `[C]` in [0, 1].
      light: None where tables are enough.
    """

    tables: jax.Array
    loss: jax.Array
    light: Light | None


def white(raw: jax.Array) -> float:
    """The value that stands for white in an array of this dtype."""
    return float(jnp.iinfo(raw.dtype).max) if jnp.issubdtype(raw.dtype, jnp.integer) else 1.0


def leveled(raw: jax.Array, leveling: Leveling, rows: jax.Array, columns: jax.Array, place: Place) -> jax.Array:
    """Pixels at the target exposure, float32 `[C, h, w]`.

    Args:
      raw: the shot's own values, `[h, w, C]`, uint8, uint16 or float32 in [0, 1].
      leveling: the shot's.
      rows, columns: where in the frame they lie, `[h]` and `[w]`.
      place: for the frame's size.
    """
    planes = [_through(raw[..., c], table) for c, table in enumerate(leveling.tables)]
    if leveling.light is None:
        return jnp.stack(planes)
    light, frame = leveling.light, (place.height, place.width)
    gain = jnp.exp2(-_field(light, rows, columns, frame) / 2)
    planes = [plane * gain for plane in planes]
    root = planes[0] if len(planes) == 1 else luma(jnp.stack(planes, -1))
    slope, offset = (_map(x, rows, columns, frame) for x in (light.slope, light.offset))
    gain = jnp.exp2(-jnp.clip(slope * root + offset, light.local_bounds[0], light.local_bounds[1]) / 2)
    return jnp.stack([_through(jnp.clip(plane * gain / light.brightest, 0, 1), table)
                      for plane, table in zip(planes, light.targets)])


def weights(raw: jax.Array, valid: jax.Array, leveling: Leveling) -> tuple[jax.Array, jax.Array]:
    """How much pixels weigh, `[h, w]`, and how much their channels do, `[C, h, w]`, all in [0, 1]: see `aligned.Tile`.

    Args:
      raw: the shot's own values, `[h, w, C]`.
      valid: bool `[h + 32, w + 32]`, which pixels it has: `FEATHER_REACH_PX` more on each side.
      leveling: the shot's.
    """
    inside = eroded(valid, FEATHER_PX).astype(jnp.float32)
    smooth = jnp.clip(windowed(inside, box_taps(2 * FEATHER_PX + 1)), MIN_WEIGHT, 1)
    own = inner(valid, FEATHER_REACH_PX).astype(jnp.float32)
    values = jnp.moveaxis(raw, -1, 0) * jnp.float32(1 / white(raw))
    near_white = jnp.clip((values - (_CLIPPED - _SOFT)) / _SOFT, 0, 1)
    confidence = 1 - near_white * leveling.loss[:, None, None]
    weight = own * smooth
    return weight, jnp.maximum(weight[None] * confidence, own[None] * MIN_WEIGHT)


def _through(plane: jax.Array, table: jax.Array) -> jax.Array:
    if jnp.issubdtype(plane.dtype, jnp.integer):
        return table[plane.astype(jnp.int32)]
    at = plane * (len(table) - 1)
    low = jnp.clip(at.astype(jnp.int32), 0, len(table) - 2)
    first = table[low]
    return first + (table[low + 1] - first) * (at - low)


def _field(light: Light, rows: jax.Array, columns: jax.Array, frame: tuple[jax.Array, jax.Array]) -> jax.Array:
    y, x = (_legendre(2 * (at + 0.5) / side - 1) for at, side in zip((rows, columns), frame))
    stops = jnp.einsum("ih,ij,jw->hw", y, light.coefficients, x, precision=jax.lax.Precision.HIGHEST)
    return jnp.clip(stops, light.bounds[0], light.bounds[1])


def _legendre(x: jax.Array) -> jax.Array:
    return jnp.stack([jnp.ones_like(x), x, (3 * x**2 - 1) / 2, (5 * x**3 - 3 * x) / 2])


def _map(cells: jax.Array, rows: jax.Array, columns: jax.Array, frame: tuple[jax.Array, jax.Array]) -> jax.Array:
    """A map over the frame at rows and columns, interpolated linearly, `[h, w]`."""
    for axis, at, side in zip((0, 1), (rows, columns), frame):
        count = cells.shape[axis]
        position = jnp.clip((at + 0.5) * (count / side) - 0.5, 0, count - 1)
        first = jnp.floor(position).astype(jnp.int32)
        share = (position - first)[:, None] if axis == 0 else (position - first)[None]
        low, high = (jnp.take(cells, jnp.minimum(first + i, count - 1), axis, mode="clip") for i in (0, 1))
        cells = low + share * (high - low)
    return cells


def levels_of(tables: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """`Leveling.tables` for shots of a dtype, from tables `[C, 65536]`."""
    return np.ascontiguousarray(tables[:, ::257] if dtype == np.uint8 else tables, np.float32)
