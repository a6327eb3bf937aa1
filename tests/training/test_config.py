
import pytest

from edmf_jax.errors import UserError
from edmf_jax.training.chooser import check_chooser_config
from edmf_jax.training.config import as_stored, check_config, differences, field_names, find_config, load_config
from tests.helpers.files import ROOT

CONFIGS = sorted(path for path in (ROOT / "configs").glob("*.py") if path.name != "chooser.py")
REQUIRED = {
    "seed", "data.dataset", "data.patches", "data.patch_px", "data.logical_shards", "train.batch", "train.epochs",
    "train.learning_rate", "loss.ssim_weight", "loss.grad_weight", "focus.window_px", "memory.slots", "model.width",
    "model.dtype",
}


@pytest.mark.parametrize("path", CONFIGS, ids=lambda p: p.name)
def test_every_config_loads_and_passes_the_checks(path):
    config = load_config(str(path))
    assert set(field_names(config)) >= REQUIRED
    check_config(config)


def test_the_choosers_config_passes_its_own_checks():
    assert check_chooser_config(load_config("chooser.py", ["--config.data.pictures=somewhere"]))


def test_the_default_config_is_the_paper():
    config = load_config(str(ROOT / "configs" / "edmf.py"))
    assert (config.data.patches, config.data.patch_px) == (106_250, 256)
    assert (config.train.batch, config.train.epochs, config.train.learning_rate) == (48, 10, 1e-4)
    assert (config.memory.slots, config.model.width, config.focus.window_px) == (4, 16, 19)
    assert config.data.dataset == "edmf"


def test_every_field_is_read_somewhere():
    """A field without effect would mislead."""
    code = "".join(p.read_text() for p in (ROOT / "edmf_jax").rglob("*.py"))
    for name in field_names(load_config(str(ROOT / "configs" / "edmf.py"))):
        assert name.rsplit(".", 1)[-1] in code, name


def test_variants_edit_the_default():
    base = load_config("edmf.py")
    changed = differences(load_config("mufusion.py"), (as_stored(base)))
    assert changed == ["model.width (32 here, 16 there)"]


def test_overrides_are_typed():
    config = load_config("configs/edmf.py", ["--config.train.batch=8", "--config.data.dataset=edmf_synthetic",
                                             "--config.train.learning_rate=1", "--config.data.allow_missing=true"])
    assert (config.train.batch, config.data.dataset, config.train.learning_rate) == (8, "edmf_synthetic", 1.0)
    assert isinstance(config.train.learning_rate, float)
    assert config.data.allow_missing is True
    shares = "--config.data.shot_shares=(1, 0, 0.5,0,0,0,0)"
    assert load_config("chooser.py", [shares]).data.shot_shares == (1, 0, 0.5, 0, 0, 0, 0)
    with pytest.raises(UserError, match="takes a value of type tuple, like"):
        load_config("chooser.py", ["--config.data.shot_shares=1,many"])


@pytest.mark.parametrize(("override", "message"), [
    ("--config.train.bacth=8", r"no field 'train.bacth'; did you mean 'train.batch'\?"),
    ("--config.batch=8", r"did you mean 'train.batch'\?"),
    ("--config.train.batch=many", "train.batch takes a value of type int, like 48"),
    ("--config.data.allow_missing=maybe", "type bool"),
    ("--config.train=8", "no field 'train'"),
    ("--batch=8", "not understood"),
    ("--config.train.batch", "not understood"),
])
def test_mistakes_are_reported_in_one_line(override, message):
    with pytest.raises(UserError, match=message) as caught:
        load_config("configs/edmf.py", [override])
    assert "\n" not in str(caught.value)


def test_config_files_are_found_or_the_error_names_them(tmp_path):
    assert find_config("demo.py").name == "demo.py"
    with pytest.raises(UserError, match=r"nowhere\.py: there is no such file; try --config=configs/edmf\.py"):
        find_config("nowhere.py")
    (tmp_path / "broken.py").write_text("def get_config(:\n")
    with pytest.raises(UserError, match="can't be run: SyntaxError"):
        load_config(str(tmp_path / "broken.py"))
    (tmp_path / "empty.py").write_text("x = 1\n")
    with pytest.raises(UserError, match="defines no function get_config"):
        load_config(str(tmp_path / "empty.py"))


@pytest.mark.parametrize(("override", "message"), [
    ("memory.admission=best", "must be sharpest or latest"),
    ("memory.first_epoch=0", "counted from 1"),
    ("focus.activity=vgg", "one of spatial-frequency, gradient"),
    ("loss.ratios=fixed", "one of adaptive, equal, none"),
    ("loss.detail_gain=-1", "must not be negative"),
    ("loss.exposure_share=1.5", "must be from 0 to 1"),
    ("loss.blend_exponent=-1.0", "must not be negative"),
    ("loss.blend_floor=0.0", "must be positive"),
])
def test_impossible_values_are_refused(override, message):
    with pytest.raises(UserError, match=message):
        check_config(load_config("edmf.py", [f"--config.{override}"]))
