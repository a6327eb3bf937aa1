"""Registration of two shots of one scene that differ in focus and exposure (paper, section 3.1.2).

`register` estimates the map between two pictures and judges how reliable it is, `require_confident` turns an
unreliable one into an error for the user, `warp` resamples.  All are pure functions of arrays.

Modules in reading order: `pipeline` (the steps), `planes` (what is compared), `features` (SIFT), `transforms`, `swarm`
and `fitting` (the map from matches), `blurs`, `correlation` and `tiles` (refinement), `verdict` (options, result,
limits), `warping`; `opencv_baselines` has OpenCV's methods for comparison.
"""

from edmf_jax.registration.pipeline import register
from edmf_jax.registration.verdict import METHODS, Registration, RegistrationConfig, require_confident
from edmf_jax.registration.warping import warp

__all__ = ["METHODS", "Registration", "RegistrationConfig", "register", "require_confident", "warp"]
