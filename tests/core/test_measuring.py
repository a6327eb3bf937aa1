"""The evidence of a piece is that of `fusion.stack.evidence`."""

import numpy as np

from edmf_jax.core import measuring
from edmf_jax.core.piecewise import Place
from edmf_jax.fusion.stack import device_pieces, device_steps, evidence, tone
from edmf_jax.fusion.stack.aligned import AlignedShot
from edmf_jax.fusion.stack.leveling import level

PIECE, MARGIN, CONTEXT = (64, 64), measuring.MARGIN_PX, measuring.CONTEXT_PX


def test_a_piece_at_the_frames_corner_with_a_hole(rng):
    size = 107, 117  # the second piece each way ends with the frame, within a cell
    image = rng.integers(0, 256, (*size, 3)).astype(np.uint8)
    image[70:90] //= 4
    valid = np.ones(size, bool)
    valid[80:84, 90:97] = valid[:, 111:] = False
    curves = [tone.reference_curve(3), np.tile(np.minimum(0.8 * tone.GRID, 1), (3, 1))]
    shot = AlignedShot(image, valid, None, level(curves[1], None, curves, curves[0], image.shape))
    expected = evidence.measure(shot, 1e-5)
    place = Place(64, 64, *size)
    found = device_steps.measure(*(device_pieces.cut(x, place, PIECE) for x in (image, valid)),
                                 device_steps.on_device(shot.leveling, np.uint8), np.float32(expected.noise), place)
    kept = slice(64 - CONTEXT, 107), slice(64 - CONTEXT, 117)
    part = tuple(slice(0, p.stop - p.start) for p in kept)
    np.testing.assert_allclose(found.fine[part].astype(float), expected.fine[kept], rtol=2e-3, atol=2e-4)
    np.testing.assert_allclose(found.weight[part].astype(int), expected.weight[kept], atol=1)
    np.testing.assert_array_equal(found.weight[part] > 0, valid[kept])
    covered = evidence.cell_means(valid.astype(np.float32), 8) > 0.999
    np.testing.assert_array_equal(found.covered[:6, :7], covered[8:, 8:])
    planes = evidence._planes(shot.part((slice(0, 107), slice(0, 117))).pixels)
    cells = evidence.cell_means(planes, 8)[8:, 8:]
    np.testing.assert_allclose(np.moveaxis(found.cells, 0, -1)[:6, :7], cells, atol=1e-5)


def test_what_is_left_of_a_mask_ends_before_the_frame_does():
    valid = np.ones((200, 200), bool)
    rows = np.arange(-20, 180)
    found = measuring.without_rim(valid, np.abs(rows), np.abs(rows), Place(0, 0, 150, 1000))
    inside = rows[measuring.RIM_PX : -measuring.RIM_PX]
    np.testing.assert_array_equal(found.any(1), (np.abs(inside) >= 6) & (inside < 144))
