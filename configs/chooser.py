"""The network that chooses among leveled shots (`core/chooser.py`), taught by simulated optics.

    python -m studies.chooser_pictures sharp SHARP --edmf EDMF
    python -m studies.chooser_pictures validation VALIDATION --whu MFI-WHU
    edmf train --config configs/chooser.py --workdir W \\
        --config.data.pictures=SHARP --config.validation.folder=VALIDATION

**Data**: any folder of sharp pictures.  What ships is trained on EDMF's pairs 501…1000 (CC BY 4.0), fused and halved,
and on scenes of `edmf_synthetic`.  MFI-WHU is never trained on: its photographs come without named sources.

**Real pairs**, without a truth, by the paper's loss: --config.data.real=REAL, with EDMF's as registered and leveled by
`python -m studies.chooser_pictures real REAL --edmf EDMF`.

**What a sample is**: `simulate.batch`.  Every knob of the simulation is in the section `simulate`, explained in
`edmf_jax/simulate/ranges.py`.

**Stop and go on at will**: Ctrl-C or SIGTERM saves; the same command goes on.  W/params.npz has the newest averaged
parameters (at each validation), W/best.npz the best on the pairs of the validation, which are not simulated.

**On a CPU** set XLA_FLAGS="--xla_cpu_multi_thread_eigen=false --xla_cpu_parallel_codegen_split_count=1": without the
second, the compiled programs of all numbers of shots need more memory maps than Linux allows (65,530).  Compiling takes
about a minute of one core for each number of shots; a step of 12 shots of 128² px about 0.6 s (size "medium").
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    """The configuration with every field at its default."""
    config = ConfigDict()
    config.task = "chooser"  # what `edmf train` trains
    config.seed = 0  # for the initial parameters and every random number of the simulation

    config.data = ConfigDict()
    config.data.pictures = ""  # a folder of sharp pictures, PNG, JPEG or TIFF; must be given
    config.data.patch_px = 128  # a multiple of 16
    config.data.shots_per_step = 12  # a step has shots_per_step // N samples of N shots
    # How often a step has 2, 3, … 8 shots; whatever the sum.  What ships: these, then (0.4, 0.25, 0, 0.2, 0, 0, 0.15).
    config.data.shot_shares = (0.75, 0.25, 0.0, 0.0, 0.0, 0.0, 0.0)
    config.data.real = ""  # a folder of real pairs, see above; empty: none, which is as good (docs/chooser.md)
    config.data.real_patches = 2  # of each step; not among shots_per_step
    config.data.uses = 3  # of each scene, with another camera, turned: optics take most of the simulation's time

    config.model = ConfigDict()
    config.model.size = "medium"  # small, medium or large: about 50, 150 and 400 thousand parameters
    config.model.dtype = "float32"  # of the convolutions; bfloat16 is enough on an accelerator

    config.loss = ConfigDict()
    config.loss.edge_px = 12  # of each patch, not scored: shots go on beyond it
    config.loss.ssim_weight = 0.1
    config.loss.decibel_weight = 0.003  # of the log of each sample's squared error: easy samples count, too
    config.loss.choice_weight = 0.1  # of the cross-entropy against the shots that are near the target
    config.loss.choice_levels = 2.0  # an error larger by so many 8-bit levels is e times less right
    config.loss.real_weight = 0.01  # of the paper's loss of the real pairs
    config.loss.repair_weight = 0.0  # of the same picture loss with the repair; 0: none is learned

    config.train = ConfigDict()
    config.train.steps = 60_000
    config.train.learning_rate = 1.5e-3
    config.train.warmup_steps = 100
    config.train.decay_steps = 20_000  # the rate falls along a cosine to a fiftieth, and stays there; 0: constant
    config.train.average = 0.999  # of the running mean of the parameters, which is what is used
    config.train.log_every_steps = 20
    config.train.init = ""  # a file of parameters to start from; empty: random, from the seed

    config.validation = ConfigDict()
    config.validation.folder = ""  # of folders of shot-*.png and truth.png, leveled; empty: none
    config.validation.every_minutes = 15.0
    config.validation.rim_px = 16  # of each picture, not scored

    config.checkpoint = ConfigDict()
    config.checkpoint.every_minutes = 4.0
    config.checkpoint.keep_last = 2

    config.simulate = simulation()
    return config


def simulation() -> ConfigDict:
    """The section `simulate`: what each field means is in `edmf_jax/simulate/ranges.py`."""
    ranges = ConfigDict()
    ranges.zoom, ranges.zoom_share, ranges.gray_share = (0.9, 1.8), 0.5, 0.15
    # Layers: one before the background nearly always, up to two
    ranges.front_shares = (0.4, 0.93)
    ranges.plain_share, ranges.smooth_share = 0.2, 0.25
    ranges.thin_px, ranges.soft_edge_px, ranges.soft_share = (1.2, 14.0), (1.5, 6.0), 0.15
    ranges.ragged_px, ranges.ragged_share = (0.3, 3.0), 0.25
    ranges.hairy_px, ranges.hairy_share = (1.0, 5.0), 0.12
    # Depth: from hardly visible defocus to macro's
    ranges.span_px, ranges.slope_share, ranges.unfocused_share = (0.7, 60.0), 0.35, 0.3
    ranges.focus_jitter = (0.0, 0.06)
    ranges.gaussian_share, ranges.cat_eye_share, ranges.cat_eye_cut = 0.2, 0.15, (0.1, 0.6)
    ranges.encoded_share = 0.15
    # Two fifths as data sets are pasted together; the rim that their blur darkens is no detail
    ranges.pasted_share, ranges.pasted_sigma_px, ranges.pasted_coarse_share = 0.4, (0.8, 8.0), 0.5
    ranges.pasted_line_share, ranges.dark_rim_share = 0.3, 0.5
    ranges.lamp_share, ranges.lamp_light, ranges.highlight_light = 0.25, (2.0, 60.0), (0.0, 2.0)
    # Camera: what leveling leaves (a stop is a factor of 2 in light)
    ranges.uneven_share = 0.6
    ranges.stops, ranges.gamma, ranges.color_stops = (0.0, 0.05), (0.0, 0.02), (0.0, 0.02)
    ranges.field_stops = (0.0, 0.03)
    ranges.clip_share, ranges.clip_stops = 0.15, (0.1, 1.0)
    ranges.noise_share, ranges.noise_levels, ranges.noise_spread = 0.65, (0.2, 5.0), (0.0, 0.6)
    ranges.hot_share, ranges.hot_density = 0.05, (1e-5, 3e-4)
    ranges.sharpen_share, ranges.sharpen = 0.3, (0.2, 1.2)
    ranges.jpeg_share, ranges.jpeg_quality = 0.6, (75.0, 98.0)
    ranges.shift_share, ranges.shift_px, ranges.turn = 0.5, (0.0, 0.7), (0.0, 0.003)
    ranges.parallax_share, ranges.parallax_px = 0.3, (0.0, 2.5)
    ranges.frame_share, ranges.uncovered_share, ranges.uncovered_px = 0.25, 0.15, (10.0, 50.0)
    return ranges
