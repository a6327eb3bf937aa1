"""The commands as a user runs them."""

import json
import os
import re
import shlex
import subprocess
import sys

import cv2
import numpy as np
import pytest

from edmf_jax.core.model import init_params, make_model
from edmf_jax.weights.store import save_weights
from tests.helpers.environment import one_device
from tests.helpers.files import ROOT, SHARED
from tests.helpers.golden import GOLDEN

EDMF = [sys.executable, "-m", "edmf_jax.cli.main"]


def run(*arguments, cwd=None, **environment):
    command = [*EDMF, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, timeout=600, env=one_device(**environment))


def refused(result, *words):
    """Asserts exit code 2, one line on standard error that contains the words, and nothing on standard output."""
    assert result.returncode == 2, result.stderr
    assert result.stdout == ""
    assert len(result.stderr.strip().splitlines()) == 1, result.stderr
    for word in words:
        assert word in result.stderr
    return True


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    import jax

    folder = tmp_path_factory.mktemp("weights") / "w"
    params = jax.device_get(init_params(make_model(16), jax.random.key(0)))
    save_weights(folder, params, {"model": {"width": 16, "dtype": "float32"}})
    return folder


@pytest.fixture
def shots(tmp_path, rng):
    for name in "ab":
        cv2.imwrite(str(tmp_path / f"{name}.png"), rng.integers(0, 256, (41, 37, 3), np.uint8))
    return tmp_path / "a.png", tmp_path / "b.png"


# Runs `edmf` with these words, then prints the packages that were imported and are not Python's own.
IMPORTED = """
import sys
before = set(sys.modules)
from edmf_jax.cli.main import main
try:
    main(sys.argv[1:])
except SystemExit:
    pass
found = {name.partition(".")[0] for name in sys.modules.keys() - before} - sys.stdlib_module_names
print("imported:", *sorted(found))
"""


@pytest.mark.parametrize("words", [("--help",), ("fuse", "--help"), ("train", "--help"), ("nonsense",), ()], ids=str)
def test_help_imports_nothing_but_the_parser(words):
    """It answers at once because of that: 0.1 s, where importing jax takes 2 s.  A time would depend on the machine."""
    result = subprocess.run([sys.executable, "-c", IMPORTED, *words], capture_output=True, text=True, cwd=ROOT)
    *shown, imported = result.stdout.splitlines()
    assert imported == "imported: edmf_jax", result.stderr
    if words == ("--help",):
        for command in ("fuse", "train", "export", "import-mufusion", "data", "demo"):
            assert command in "\n".join(shown)


def test_the_parser_of_one_command_is_that_of_all():
    """A command's own parser is made alone, which is sooner; it has to be the same, and all have to be known."""
    from edmf_jax.cli.main import _COMMANDS, make_parser

    def helps(parser):
        (commands,) = (action for action in parser._actions if action.dest == "command")
        return {name: sub.format_help() for name, sub in commands.choices.items()}

    of_all = helps(make_parser())
    assert set(of_all) == set(_COMMANDS) and all("show this help" in text for text in of_all.values())
    for name in _COMMANDS:
        assert helps(make_parser(name))[name] == of_all[name]


def test_help_loads_only_the_modules_of_the_command_line():
    code = "import sys; from edmf_jax.cli.main import make_parser; make_parser(); " \
           "print(*sorted(name for name in sys.modules if name.startswith(('edmf_jax', 'numpy'))))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    loaded = done.stdout.split()
    lists = {"edmf_jax.evaluation", "edmf_jax.evaluation.benchmark_pairs"}  # of the benchmarks' names, for the help
    assert lists <= set(loaded) and len(loaded) >= 14
    assert all(re.fullmatch(r"edmf_jax(\.cli(\.\w+)?)?", name) for name in set(loaded) - lists), loaded


def test_the_installed_command_is_this_one():
    scripts = os.path.join(os.path.dirname(sys.executable), "edmf")
    assert subprocess.run([scripts, "--version"], capture_output=True, text=True).stdout.strip() == "0.1.0"


def test_fuse_writes_a_picture(shots, weights, tmp_path):
    result = run("fuse", *shots, "-o", tmp_path / "out.png", "--weights", weights, "--align", "none")
    assert result.returncode == 0, result.stderr
    assert result.stdout.strip() == str(tmp_path / "out.png")
    assert cv2.imread(str(tmp_path / "out.png")).shape == (41, 37, 3)


def test_the_shipped_weights_are_the_default_and_nothing_is_overwritten(shots, tmp_path):
    command = ["fuse", *shots, "-o", tmp_path / "out.png", "--preset", "paper"]
    assert run(*command).returncode == 0
    assert cv2.imread(str(tmp_path / "out.png")).std() > 1
    assert refused(run(*command), "out.png", "--force")
    assert run(*command, "--force").returncode == 0


def test_import_mufusion_then_fuse(tmp_path):
    if not (SHARED / "mufusion").exists():
        pytest.skip("needs ../shared/mufusion, which is not part of the repository")
    reference = np.load(GOLDEN / "mufusion_forward.npz")
    for name, plane in zip("ab", reference["b_sources"]):
        cv2.imwrite(str(tmp_path / f"{name}.png"), plane)
    result = run("import-mufusion", SHARED / "mufusion" / "multi-focus.model", "-o", tmp_path / "w")
    assert result.returncode == 0, result.stderr
    result = run("fuse", tmp_path / "a.png", tmp_path / "b.png", "-o", tmp_path / "f.png", "--weights", tmp_path / "w",
                 "--preset", "paper")
    assert result.returncode == 0, result.stderr
    fused = cv2.imread(str(tmp_path / "f.png"), cv2.IMREAD_UNCHANGED)
    expected = np.rint(np.clip(reference["b_fused"], 0, 1) * 255)
    assert fused.shape == expected.shape
    assert np.abs(fused.astype(int) - expected).max() <= 1


def test_bad_input_to_fuse(shots, weights, tmp_path, capfd):
    from edmf_jax.cli.main import main

    def here(*arguments):
        """As `run`, in this process, which has loaded the libraries."""
        try:
            code = main(list(map(str, arguments)))
        except SystemExit as exit:
            code = exit.code
        return subprocess.CompletedProcess(arguments, code, *capfd.readouterr())

    a, b = shots
    out = tmp_path / "out.png"
    small, other = tmp_path / "small.png", tmp_path / "other.png"
    cv2.imwrite(str(small), np.zeros((15, 30, 3), np.uint8))
    cv2.imwrite(str(other), np.zeros((41, 38, 3), np.uint8))
    torn = tmp_path / "torn.jpg"
    torn.write_bytes(cv2.imencode(".jpg", np.full((60, 60, 3), 99, np.uint8))[1].tobytes()[:400])
    assert refused(here("fuse", a, other, "-o", out, "--weights", weights, "--preset", "paper"), "41", "38")
    assert refused(here("fuse", a, other, "-o", out, "--weights", weights), "other.png", "black")
    # Two independent noise pictures cannot be registered.
    assert refused(run("fuse", a, b, "-o", out, "--weights", weights), "cannot be registered", "--align none")
    assert refused(here("fuse", a, torn, "-o", out, "--weights", weights), "torn.jpg")
    assert refused(here("fuse", small, small, "-o", out, "--weights", weights, "--preset", "paper"), "16")
    assert refused(here("fuse", a, tmp_path / "none.png", "-o", out, "--weights", weights), "none.png")
    assert refused(here("fuse", a, b, "-o", out, "--weights", "no-such-name"), "edmf export", "edmf import-mufusion")
    assert refused(here("fuse", a, b, "-o", out, "--preset", "other"), "other", "photo", "paper")
    assert refused(here("fuse", a, "-o", out, "--weights", weights))
    assert refused(here("fuse", a, b, "-o", tmp_path / "no" / "out.png", "--weights", weights), "no")
    assert refused(here("fuse", a, b, "-o", tmp_path / "out.xyz", "--weights", weights), "xyz")
    assert refused(run("nonsense"), "nonsense")
    assert not out.exists()


def test_train_without_tensorflow_says_which_extra(tmp_path):
    """A module that raises ImportError stands for a package that is not installed."""
    (tmp_path / "tensorflow_datasets.py").write_text("raise ImportError('No module named tensorflow_datasets')\n")
    result = run("train", "--config", "configs/demo.py", "--workdir", tmp_path / "w", PYTHONPATH=str(tmp_path))
    assert refused(result, 'pip install "edmf-jax[train]"')


def test_a_mistyped_field_names_the_nearest(tmp_path):
    result = run("train", "--config", "configs/edmf.py", "--workdir", tmp_path / "w", "--config.train.bach=4")
    assert refused(result, "train.bach", "did you mean 'train.batch'?")
    assert not (tmp_path / "w").exists()


def test_data_build_of_an_empty_folder(tmp_path):
    assert refused(run("data", "build", "edmf", "--source", tmp_path, "--data-dir", tmp_path / "tfds"), str(tmp_path))


@pytest.mark.slow
def test_the_demo(tmp_path):
    result = run("demo", "--workdir", tmp_path)
    assert result.returncode == 0, result.stderr
    sheet, fused = (re.search(rf"{word}:\s+(\S+)", result.stdout)[1] for word in ("side by side", "fused picture"))
    assert cv2.imread(sheet).std() > 10
    assert cv2.imread(fused).shape[2] == 3
    scores = {line.split()[0]: line for line in result.stdout.splitlines() if " dB" in line}
    average, ours = (float(re.search(r"([\d.]+) dB", scores[name])[1]) for name in ("sources'", "fused"))
    assert ours > average, "two minutes of training should beat the plain average of the sources"
    ends = [json.loads(line) for line in (tmp_path / "edmf_synthetic/run/metrics.jsonl").read_text().splitlines()]
    assert ends[-1]["epoch"] == 6


def readme_commands() -> list[str]:
    """Every command in the README's shell blocks, with continued lines joined and comments removed."""
    blocks = re.findall(r"```(?:sh|bash|console)\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    lines = "\n".join(blocks).replace("\\\n", " ").splitlines()
    return [line.split(" #")[0].strip() for line in lines if line.strip() and not line.startswith("#")]


def test_every_command_of_the_readme_parses():
    """The parser accepts each `edmf …` line, and each `make …` line names a target of the Makefile."""
    from edmf_jax.cli.main import make_parser

    commands = readme_commands()
    assert len(commands) >= 8
    for line in commands:
        words = [w for w in shlex.split(line) if not re.fullmatch(r"[A-Z_]+=\S*", w)]
        if words[0] == "edmf":
            make_parser().parse_known_args(words[1:])
        elif words[0] == "make":
            assert re.search(rf"^{words[1]}:", (ROOT / "Makefile").read_text(), re.MULTILINE), line
        else:
            assert words[0] in ("pip", "git", "cd"), line
