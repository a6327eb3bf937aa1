"""Registration of two shots of one scene that differ in focus and exposure (paper, section 3.1.2).

`register` estimates the map between two pictures and judges how reliable it is, `register_stack` does so for any number
of shots, `require_confident` turns an unreliable map into an error for the user, `warp` resamples.

Modules in reading order: `pipeline` (a pair: the steps), `views` and `planes` (what is compared), `features` (SIFT),
`transforms`, `swarm` and `fitting` (the map from matches), `blurs`, `grid`, `correlation` and `tiles` (refinement),
`flow` (where no single map is right), `verdict` (options, result, limits); `stack`, `neighbors`, `joining`, `placing`
and `adjustment` (any number of shots); `warping`; `opencv_baselines` has OpenCV's methods for comparison.
"""

from edmf_jax.registration.flow import Flow
from edmf_jax.registration.pipeline import register
from edmf_jax.registration.stack import StackRegistration, register_stack
from edmf_jax.registration.verdict import METHODS, MODELS, Registration, RegistrationConfig, require_confident
from edmf_jax.registration.views import View
from edmf_jax.registration.warping import warp

__all__ = ["METHODS", "MODELS", "Flow", "Registration", "RegistrationConfig", "StackRegistration", "View", "register",
           "register_stack", "require_confident", "warp"]
