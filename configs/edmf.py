"""The paper: the EDMF network on 106,250 patches of 256² from EDMF, sections 4 and 5.1 (DOI 10.3390/s24227287).

    edmf train --config configs/edmf.py --workdir W

Needs the published pairs (`edmf data build edmf --source DIR-or-ZIP`, or a
network) and devices that together hold a memory bank of 34.8 GB and about
0.5 GB of sources: one 80 GB accelerator, or several smaller ones.  Long for a CPU: there, fewer and
smaller patches, for example
`--config.data.patches=4096 --config.data.patch_px=128 --config.train.batch=8`.
Scores to expect (the paper's Table 2, on its test pairs): EN 7.567, MI 5.598, SF 21.498, VIF 1.189,
Qabf 0.653, SSIM 0.667, AG 7.121, PSNR 68.720.
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    config = ConfigDict()
    config.seed = 0  # of the parameters, the choice of patches and the order of batches

    config.data = ConfigDict()
    config.data.dataset = "edmf"  # a TFDS name: edmf (= edmf/table2), edmf/as_printed, edmf_synthetic
    config.data.split = "train"  # or a part of it, as TFDS writes it: "train[:90%]"
    config.data.data_dir = ""  # where TFDS keeps prepared data; empty: its default (TFDS_DATA_DIR)
    config.data.allow_missing = False  # build the data set from an incomplete copy of the published files
    config.data.patches = 106_250  # the paper's number, drawn with the seed from the regular grid that just holds them
    config.data.patch_px = 256
    config.data.swap = False  # half of the pairs the other way round, the other half in the next epoch
    config.data.logical_shards = 8  # 1, 2, 4 or 8 devices train on the same batches; divides train.batch

    config.model = ConfigDict()
    config.model.width = 16  # channels at full resolution; MUFusion has 32
    config.model.dtype = "float32"  # of the convolutions: float32 or bfloat16; parameters and losses are float32

    config.focus = ConfigDict()
    config.focus.window_px = 19  # odd; the paper is silent, MUFusion averages its activity over 19
    config.focus.activity = "spatial-frequency"  # or gradient: the windowed mean of MUFusion's Laplacian

    config.loss = ConfigDict()
    config.loss.pixel_weight = 1.0  # Eq. 7 gives no coefficients; these are MUFusion's
    config.loss.ssim_weight = 10.0
    config.loss.grad_weight = 10.0
    config.loss.ratios = "adaptive"  # Eqs. 11 and 12; Fig. 14's others: equal (1/(slots+1) each), none (1 each)
    # What the output is compared with: the sources (0, 0, 0), the sources brought so far to the middle of both
    # exposures (1: wholly), with their fine detail so much stronger, and the mean of both weighed by
    # (activity + floor) to this power instead of each where it is the sharper one
    config.loss.exposure_share = 0.0
    config.loss.detail_gain = 0.0
    config.loss.detail_floor = 0.0  # detail weaker than this [0…1] stays as it is
    config.loss.blend_exponent = 0.0
    config.loss.blend_floor = 0.03  # of the activity [0…1]

    config.memory = ConfigDict()
    config.memory.slots = 4  # epochs remembered
    config.memory.admission = "sharpest"  # Algorithm 1; latest: every epoch, in the place of the oldest
    config.memory.first_epoch = 1  # the first that can be remembered
    # images: the outputs, on the devices; host: in the host's memory, streamed; snapshots: the parameters, outputs
    # recomputed; auto: the first of these for which there is room
    config.memory.kind = "auto"

    config.train = ConfigDict()
    config.train.batch = 48  # patches a step, over all devices
    config.train.epochs = 10
    config.train.init = ""  # weights to start from, a folder or a shipped name; empty: random ones from the seed
    config.train.learning_rate = 1e-4  # Adam
    config.train.warmup_steps = 0  # in which the rate rises from 0
    config.train.decay_epochs = 0  # over which the rate falls to 0 along a cosine; 0: it is constant, as in the paper
    config.train.steps_per_call = 0  # steps in one dispatch to the devices; 0: 1 on a CPU, 16 on an accelerator
    config.train.diverged_ratio = 20.0  # stop at a loss so many times the median of the last 100; 0: never
    config.train.log_every_steps = 20

    config.checkpoint = ConfigDict()
    config.checkpoint.every_steps = 0  # besides one at every epoch's end; 0: none
    config.checkpoint.keep_last = 2
    config.checkpoint.keep_best = 1  # by the epoch's mean spatial frequency, as Algorithm 1 ranks epochs

    return config
