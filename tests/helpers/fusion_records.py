"""Made-up fusions for the tests of their report: two shots, and the record that `edmf fuse` would make of them."""

import cv2
import jax
import numpy as np

from edmf_jax.core.model import init_params, make_model
from edmf_jax.fusion.record import FusionRecord
from edmf_jax.fusion.stack import PhotoOptions, PhotoResult
from edmf_jax.registration import Registration, transforms
from edmf_jax.reports.fusion_page import make_page
from edmf_jax.weights.store import Weights

MODEL = make_model(2)
PARAMS = jax.tree.map(lambda x: np.zeros(x.shape, np.float32),
                      jax.eval_shape(lambda key: init_params(MODEL, key), jax.random.key(0)))
WEIGHTS = Weights(PARAMS, {"model": {"width": 2, "dtype": "float32"}}, "tiny", "9.8.7")
MATRIX = np.array([[1.01, 0.004, 5.0], [-0.004, 1.01, 3.0], [0, 0, 1]])  # from the reference to the other shot


def textured_scene(height=260, width=340, seed=0):
    """Detail at every scale, uint8 RGB."""
    rng = np.random.default_rng(seed)
    picture = sum(noise / noise.std() for noise in (
        cv2.GaussianBlur(rng.standard_normal((height, width, 3)), (0, 0), sigma) for sigma in (1.2, 3, 6, 12, 24)))
    return np.clip(127 + 22 * picture, 8, 247).astype(np.uint8)


def two_shots(height=260, width=340):
    """One scene, sharp on the left, and a darker shot moved by `MATRIX`, sharp on the right."""
    whole = textured_scene(height, width)
    blurred = cv2.GaussianBlur(whole, (0, 0), 2.5)
    near, far = whole.copy(), blurred.copy()
    near[:, width // 2 :], far[:, width // 2 :] = blurred[:, width // 2 :], whole[:, width // 2 :]
    far = cv2.warpPerspective(far, MATRIX, (width, height), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT)
    return near, (0.8 * far).astype(np.uint8)


def make_registration(points, **fields):
    """A registration by `MATRIX` with these inliers."""
    targets = transforms.project(MATRIX, points)
    numbers = {"matches": 1234, "inliers": len(points), "tiles": 77, "agreeing_tiles": 66, "residual_px": 0.345,
               "deviation_px": 0.678, "overlap": 0.91, "confident": True} | fields
    return Registration(MATRIX, "pso-sift", "homography", points=points, targets=targets, **numbers)


def make_record(shots, names=None, frame=None, options=None, **fields):
    """A record whose result is the first shot, and whose map says that its right half is from the last one."""
    height, width = shots[0].shape[:2]
    top, left, height, width = frame or (0, 0, height, width)
    window = slice(top, top + height), slice(left, left + width)
    sources = np.zeros((height, width), np.uint8)
    sources[:, width // 2 :] = len(shots) - 1
    points = np.random.default_rng(0).uniform(0, [width, height], (400, 2))
    result = PhotoResult(shots[0][window], sources, (None, *[make_registration(points)] * (len(shots) - 1)),
                         tuple(-0.35 * number for number in range(len(shots))), (top, left, height, width))
    fields = {"weights": WEIGHTS, "options": options or PhotoOptions(), "result": result, "image": result.image,
              "seconds": 12.3} | fields
    return FusionRecord(names or [f"there/{number}.png" for number in range(len(shots))], "here/out.png", **fields)


def page_of(shots, limit_bytes=10**7, **fields):
    """The page of `make_record`."""
    return make_page(make_record(shots, **fields), list(shots), limit_bytes=limit_bytes).decode()
