"""Registration of a shot to another one of the same scene that differs in focus and exposure (paper, 3.1.2).

`register` finds the map and says how far it may be trusted, `require_confident`
turns doubt into an error for the user, `warp` resamples.  Pure functions of arrays.
"""

from edmf_jax.registration.pipeline import register
from edmf_jax.registration.result import METHODS, Registration, RegistrationConfig, require_confident
from edmf_jax.registration.warping import warp

__all__ = ["METHODS", "Registration", "RegistrationConfig", "register", "require_confident", "warp"]
