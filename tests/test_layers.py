"""Imports point down only: a module imports modules of lower layers, or of its own where that is said."""

import ast
import subprocess
import sys

from conftest import ROOT

# From the top; what shares a line may not import its neighbours unless named in SAME_LAYER.
LAYERS = [
    "main",
    "commands_evaluate commands_fuse commands_report commands_experiment",
    "demo benchmark experiment",
    "train evaluate report export",
    "loop",
    "report_html report_sheet",
    "report_data report_images report_plots",
    "workdir fusion aligning batches methods scoring exporting",
    "fusion_report",
    "fusion_page",
    "fusion_pictures tables",
    "summary pairs photo",
    "data checkpoint config weights mufusion baselines tiling scores photographs copies outputs",
    "distributed",
    "images interrupt runtime profiling sheet statistics framed health",
    "hosted",
    "steps",
    "state losses",
    "snapshots foreign",
    "model memory metrics registration patches metadata maps tiff",
    "color filters focus ssim files exposures containers exif profiles report_crops webpage orbax_params",
    "errors",
]
SAME_LAYER = {("ssim", "filters"), ("focus", "filters"), ("mufusion", "weights"), ("losses", "state")}


def imports_of(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            if node.module == "edmf_jax":
                yield from (alias.name for alias in node.names)
            elif node.module.startswith("edmf_jax."):
                yield node.module.split(".")[1]
            elif node.module.split(".")[0] == "tfds_edmf":
                yield "tfds_edmf"
        elif isinstance(node, ast.Import):
            yield from (a.name.split(".")[1] for a in node.names if a.name.startswith("edmf_jax."))


def rank():
    return {name: len(LAYERS) - i for i, line in enumerate(LAYERS) for name in line.split()}


def test_imports_point_down():
    ranks = rank()
    wrong = []
    for path in sorted((ROOT / "edmf_jax").glob("*.py")):
        name = path.stem
        if name == "__init__":
            continue
        assert name in ranks, f"edmf_jax/{name}.py has no place in LAYERS"
        for other in imports_of(path):
            if other == "tfds_edmf":
                if name not in ("data", "main"):
                    wrong.append(f"{name} imports tfds_edmf")
            elif ranks[other] >= ranks[name] and (name, other) not in SAME_LAYER:
                wrong.append(f"{name} imports {other}")
    assert not wrong


def test_the_data_sets_do_not_import_the_package():
    for path in (ROOT / "tfds_edmf").rglob("*.py"):
        assert "edmf_jax" not in {a for a in ast.unparse(ast.parse(path.read_text())).split() if a == "edmf_jax"}, path
        assert not [name for name in imports_of(path) if name != "tfds_edmf"], path


def test_importing_does_nothing_and_fusing_needs_no_tensorflow():
    code = ("import sys, edmf_jax, edmf_jax.fusion, edmf_jax.weights; "
            "print([m for m in ('tensorflow', 'tensorflow_datasets', 'orbax') if m in sys.modules])")
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"
    assert out.stderr == ""
