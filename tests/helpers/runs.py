"""A configuration that trains in seconds, for the tests of training."""

from edmf_jax.training.config import load_config
from edmf_jax.training.loop import Run
from edmf_jax.training.train import make_step_config, prepare_data
from tests.helpers.files import ROOT


def tiny_config(data_dir, **fields):
    """configs/edmf.py on the tiny synthetic pairs: 13 patches of 32² px, 4 steps an epoch, 3 epochs, 2 channels.

    Few channels, because a loop over steps computes convolutions on one thread and without vectors on a CPU.
    Other fields are set like `train__epochs=5`.
    """
    config = load_config(str(ROOT / "configs" / "edmf.py"))
    config.data.update(dataset="edmf_synthetic/tiny", data_dir=str(data_dir), patches=13, patch_px=32, logical_shards=4)
    config.model.width = 2
    config.train.update(batch=4, epochs=3, log_every_steps=1, learning_rate=1e-3)
    for name, value in fields.items():
        section, _, field = name.partition("__")
        if field:
            config[section][field] = value
        else:
            config[section] = value
    return config


def prepare_run(config, mesh, memory_kind="images"):
    """What `train` prepares before it restores a state."""
    training_set = prepare_data(config, mesh, lambda line: None)
    return Run(config, mesh, training_set, make_step_config(config, training_set.layout, memory_kind))


def overrides(config_fields: dict) -> list[str]:
    """Fields like `train__epochs` as options of the command line: `--config.train.epochs=5`."""
    return [f"--config.{name.replace('__', '.')}={value}" for name, value in config_fields.items()]
