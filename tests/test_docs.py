"""The README and docs/ against the repository: paths, links, anchors, modules, option tables and Python snippets."""

import argparse
import ast
import json
import re
import runpy
import unicodedata
from pathlib import Path

import jax
import numpy as np
import pytest

from edmf_jax.cli.main import make_parser
from edmf_jax.core.model import init_params, make_model
from edmf_jax.training.config import check_config
from edmf_jax.weights.store import load_weights, save_weights
from tests.helpers.files import ROOT

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
FOLDERS = ("edmf_jax", "tfds_edmf", "studies", "benchmarks", "configs", "docs", "tests", "results", "examples")
SUFFIXES = ("csv", "html", "jpg", "json", "jsonl", "md", "npz", "png", "py", "tex", "zip")
INHERITED = {"--help", "--output"}  # said beside the tables


def prose(page: Path) -> str:
    """The page without its code blocks."""
    return re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)


def anchors(page: Path) -> set[str]:
    """The anchors that GitHub gives the page's headings."""
    titles = [re.sub(r"[`*]", "", title).lower() for title in re.findall(r"^#+ (.*)$", prose(page), re.MULTILINE)]
    kept = lambda c: c in "-_ " or unicodedata.category(c)[0] in "LN"
    return {"".join(c for c in title if kept(c)).replace(" ", "-") for title in titles}


def tables(text: str) -> list[list[list[str]]]:
    """Every Markdown table as rows of cells."""
    blocks = re.findall(r"(?:^ *\|.*\n)+", text, re.MULTILINE)
    return [[[cell.strip() for cell in line.strip().strip("|").split("|")] for line in block.splitlines()]
            for block in blocks]


def snippets(page: str) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```$", (ROOT / page).read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_path_exists(page):
    """Paths from the root anywhere on the page, and names of Python files in any folder."""
    text = page.read_text(encoding="utf-8")
    paths = re.findall(rf"(?<![\w/.-])((?:{'|'.join(FOLDERS)})/[\w./-]*\w|(?:{'|'.join(FOLDERS)})/)", text)
    assert not [path for path in paths if not (ROOT / path).exists()]
    known = {"/" + path.relative_to(ROOT).as_posix() for folder in FOLDERS for path in (ROOT / folder).rglob("*.py")}
    files = re.findall(r"(?<![\w.-])[\w/]+\.py\b", prose(page))
    assert not [file for file in files if not any(path.endswith("/" + file) for path in known)]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_relative_link_and_anchor_exists(page):
    broken = []
    for link in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        if "://" in link:
            continue
        target, _, anchor = link.partition("#")
        path = (page.parent / target).resolve() if target else page
        if not path.exists() or (anchor and anchor not in anchors(path)):
            broken.append(link)
    assert not broken


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_module_exists(page):
    for module in re.findall(r"python -m ((?:studies|benchmarks)[\w.]*)", page.read_text(encoding="utf-8")):
        path = ROOT / module.replace(".", "/")
        assert path.with_suffix(".py").exists() or (path / "__main__.py").exists(), module


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_field_and_function_exists(page):
    """In backticks, `loss.detail_gain` is a field of the configuration, or `loop.make_programs` a name in a module."""
    config = runpy.run_path(str(ROOT / "configs/edmf.py"))["get_config"]()
    for module, name in re.findall(r"`(?!jax\.)(?:\w+\.)*([a-z_]+)\.([a-z]\w+)`", prose(page)):
        files = [path.read_text(encoding="utf-8") for path in (ROOT / "edmf_jax").rglob(f"{module}.py")]
        if name in SUFFIXES or not (files or module in config):
            continue
        defined = any(re.search(rf"^(?:def |class |){name}\b", text, re.MULTILINE) for text in files)
        assert defined or name in config.get(module, ()), f"{module}.{name}"


def test_option_tables_have_every_option():
    (subparsers,) = [a for a in make_parser()._actions if isinstance(a, argparse._SubParsersAction)]
    checked = []
    for head, _, *rows in tables(prose(ROOT / "README.md")):
        command = re.fullmatch(r"`edmf (\w+)` option", head[0])
        if command:
            options = {option for action in subparsers.choices[command[1]]._actions for option in action.option_strings
                       if option.startswith("--") and action.help is not argparse.SUPPRESS}
            listed = {option for first, *_ in rows for option in re.findall(r"--[a-z-]+", first)}
            assert listed == options - INHERITED, command[0]
            checked.append(command[1])
    assert checked == ["fuse", "train", "evaluate", "report", "export"]


def test_the_map_names_every_package_and_what_it_may_import():
    layers = ast.parse((ROOT / "tests/test_layers.py").read_text(encoding="utf-8"))
    (allowed,) = [ast.literal_eval(node.value) for node in layers.body
                  if isinstance(node, ast.Assign) and node.targets[0].id == "MAY_IMPORT"]
    (rows,) = [table[2:] for table in tables(prose(ROOT / "docs/design.md")) if table[0][0] == "`edmf_jax/`"]
    assert [row[0] for row in rows] == [f"`{package}/`" for package in allowed]
    for (_, _, imports), packages in zip(rows, allowed.values()):
        if imports and not imports.startswith(("everything", "all")):
            assert imports.split(", ") == packages.split()


def test_the_average_of_two_runs(tmp_path, monkeypatch):
    """docs/results.md, Making them again: 0.75 of run 7 and 0.25 of run 6."""
    _, averaging = snippets("docs/results.md")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "weights").mkdir()
    given = {}
    for number in (6, 7):
        given[number] = jax.device_get(init_params(make_model(16), jax.random.key(number)))
        save_weights(f"weights/{number}", given[number], {"model": {"width": 16, "dtype": "float32"}})
    exec(averaging, {})
    found = load_weights("weights/average")
    jax.tree.map(lambda x, new, old: np.testing.assert_allclose(x, 0.75 * new + 0.25 * old, rtol=1e-6, atol=1e-8),
                 found.params, given[7], given[6])


def test_the_seven_runs_have_valid_configurations(tmp_path, monkeypatch):
    """The training before it, with the two functions that take hours replaced."""
    training, _ = snippets("docs/results.md")
    for folder in ("configs", "results"):
        (tmp_path / folder).symlink_to(ROOT / folder)
    monkeypatch.chdir(tmp_path)
    trained, exported = [], []
    monkeypatch.setattr("edmf_jax.training.train.train",
                        lambda config, workdir: trained.append((workdir, config.copy_and_resolve_references())))
    monkeypatch.setattr("edmf_jax.training.export_run.export_run",
                        lambda workdir, output, step: exported.append((workdir, output, step)))
    exec(training, {})
    assert [workdir for workdir, _ in trained] == [f"runs/{n}" for n in range(1, 8)]
    assert exported[5] == ("runs/6", "weights/6", "5500")
    for number, (_, config) in enumerate(trained, 1):
        check_config(config)
        record = json.loads((ROOT / f"results/edmf/{number}/run.json").read_text())["config"]
        assert config.train.init == (f"weights/{number - 1}" if number > 1 else "")
        assert config.loss.detail_gain == record["loss"]["detail_gain"]
        assert config.data.data_dir == ""
    assert trained[5][1].train.epochs * 600 == 6000  # 2,400 patches in batches of 4; step 5,500 is one of the last two
