"""From shots as a camera writes them to one picture: any number, any size, registered, brought to one exposure, fused.

Pure functions of arrays; files are the caller's.  In reading order: `options` (what is asked for and returned),
`pipeline` (how it all fits together), `shots` (reading and checking), `bad_shots`, `sketches`, `alignment` and
`analysis` (the first pass); `tone`, `tone_samples`, `tone_model`, `gain_field`, `local_light` and `tone_estimate` (how
a shot's tone differs), `exposure` and `leveling` (one exposure for all); `sensor` and `sensor_repair` (hot pixels),
`dust`, `focus_order` (near and far); `motion`, `motion_blurs`, `motion_match`, `motion_regions` and `excluding` (what
moved); `group` (the second pass), `aligned` (a shot in the frame), `borders` and `holes` (missing pixels); `evidence`,
`choice`, `reblur` (edges of depth), `spill`, `visits`, `weighted_mean` and `blend` (the shots' pixels), `chooser` and
`chooser_engine` (a network corrects the choice); or `sharpness`, `composite`, `network` and `response` (the network's
pixels); `tiles`.  `device_choice`, `device_blend`, `device_shots`, `device_pieces`, `device_steps`, `device_chooser`,
`device_edges`: the same on a GPU.
"""

from edmf_jax.fusion.stack.alignment import align_photos
from edmf_jax.fusion.stack.options import PhotoOptions, PhotoResult
from edmf_jax.fusion.stack.pipeline import fuse_parts, fuse_photos

__all__ = ["PhotoOptions", "PhotoResult", "align_photos", "fuse_parts", "fuse_photos"]
