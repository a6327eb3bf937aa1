"""The paper's training: the EDMF network on 106,250 patches of 256² px (sections 4 and 5.1, DOI 10.3390/s24227287).

    edmf train --config configs/edmf.py --workdir W

**Every other configuration starts from this one.** All fields are declared here, with the paper's value or, where the
paper gives none, the choice that docs/paper.md explains.

**Needs** the published pairs (`edmf data build edmf --source DIR-or-ZIP`, or a network connection to download them)
and devices that together hold a memory bank of 34.8 GB and about 0.5 GB of sources: one 80 GB accelerator, or several
smaller ones (docs/scaling.md).

**Time**: 22,140 steps of 48 patches. This run has not been done in full. It is too long for a CPU; there, use fewer and
smaller patches, for example `--config.data.patches=4096 --config.data.patch_px=128 --config.train.batch=8`.

**Expected scores**, from the paper's Table 2 on its test pairs: EN 7.567, MI 5.598, SF 21.498, VIF 1.189, Qabf 0.653,
SSIM 0.667, AG 7.121, PSNR 68.720.
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    """The configuration with every field at its default."""
    config = ConfigDict()
    config.seed = 0  # for the initial parameters, the choice of patches and the order of batches

    config.data = ConfigDict()
    config.data.dataset = "edmf"  # TFDS name: edmf (= edmf/table2), edmf/as_printed, edmf_synthetic
    config.data.split = "train"  # or part of a split, in TFDS notation: "train[:90%]"
    config.data.data_dir = ""  # where TFDS keeps prepared data; empty: its default (variable TFDS_DATA_DIR)
    config.data.file = ""  # a file of `edmf data pack`, which is read instead, without TensorFlow; --data sets it
    config.data.allow_missing = False  # accept an incomplete copy of the published files
    # The paper's number. Drawn with the seed from the regular grid of the largest stride that holds that many.
    config.data.patches = 106_250
    config.data.patch_px = 256
    config.data.swap = False  # exchange the two sources of half of the patches, in the next epoch of the other half
    config.data.logical_shards = 8  # 8: on 1, 2, 4 or 8 devices the batches are the same; must divide train.batch

    config.model = ConfigDict()
    config.model.width = 16  # channels at full resolution; MUFusion has 32
    config.model.dtype = "float32"  # dtype of the convolutions: float32 or bfloat16; parameters and losses are float32

    config.focus = ConfigDict()
    config.focus.window_px = 19  # odd; the paper does not say, MUFusion averages its activity over 19
    config.focus.activity = "spatial-frequency"  # or "gradient": the windowed mean of MUFusion's Laplacian

    config.loss = ConfigDict()
    config.loss.pixel_weight = 1.0  # Eqs. 7 and 8 have no coefficients; these three are MUFusion's
    config.loss.ssim_weight = 10.0
    config.loss.grad_weight = 10.0
    config.loss.ratios = "adaptive"  # Eqs. 11 and 12; the others of Fig. 14: equal (1/(slots+1) each), none (1 each)
    # Targets: the pictures that Eqs. 2, 4 and 6 compare the output with. All 0: the sources, as in the paper.
    # The three changes are applied in this order (core/targets.py).
    config.loss.exposure_share = 0.0  # move both sources towards the mean of their exposures: 0 not at all, 1 fully
    config.loss.detail_gain = 0.0  # strengthen fine detail by this factor: 0.25 adds a quarter
    config.loss.detail_floor = 0.0  # leave detail weaker than this unchanged [0…1]
    config.loss.blend_exponent = 0.0  # > 0: one target, the sources' mean weighted by (activity + floor)^exponent
    config.loss.blend_floor = 0.03  # the floor in that weight, on the scale of the activity [0…1]

    config.memory = ConfigDict()
    config.memory.slots = 4  # number of epochs whose outputs are kept
    config.memory.admission = "sharpest"  # Algorithm 1; or "latest": every epoch replaces the oldest
    config.memory.first_epoch = 1  # first epoch that may enter the memory
    # images: the outputs, on the devices; host: the outputs in host memory, streamed; snapshots: parameters, from which
    # the outputs are recomputed; auto: the first of these that fits
    config.memory.kind = "auto"

    config.train = ConfigDict()
    config.train.batch = 48  # patches per step, over all devices
    config.train.epochs = 10
    config.train.init = ""  # weights to start from, a folder or a shipped name; empty: random, from the seed
    config.train.learning_rate = 1e-4  # Adam
    config.train.warmup_steps = 0  # the rate rises linearly from 0 over these steps
    config.train.decay_epochs = 0  # the rate falls to 0 along a cosine over these epochs; 0: constant, as in the paper
    # How exactly the network's convolutions multiply float32: "default" is what the platform's matrix units do (TF32 on
    # GPUs, bfloat16 on TPUs, float32 on CPUs), "high" is three passes of it, "highest" is float32 everywhere.
    config.train.precision = "default"
    config.train.steps_per_call = 0  # steps per dispatch to the devices; 0: 1 on a CPU, 16 on an accelerator
    config.train.diverged_ratio = 20.0  # stop at a loss above this many times the median of the last 100; 0: never
    config.train.log_every_steps = 20

    config.checkpoint = ConfigDict()
    config.checkpoint.every_steps = 0  # steps between saves, in addition to one at each epoch's end; 0: none
    config.checkpoint.keep_last = 2  # newest checkpoints to keep
    config.checkpoint.keep_best = 1  # best ones to keep, by the epoch's mean spatial frequency, as in Algorithm 1

    return config
