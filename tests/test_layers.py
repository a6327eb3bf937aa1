"""Which package may import which: the map of the code, held for every file."""

import ast
import subprocess
import sys

from tests.helpers.files import ROOT

# Package → what of edmf_jax it may import besides itself and errors.  Arrows point down this list only.
MAY_IMPORT = {
    "cli": "workflows reports evaluation methods fusion training data weights registration metrics io runtime core",
    "workflows": "reports evaluation methods fusion training data weights registration metrics io runtime core",
    "reports": "evaluation fusion registration data weights io core",
    "evaluation": "methods fusion data metrics weights io runtime core",
    "methods": "fusion weights io core",
    "training": "simulate data weights io runtime core",
    "fusion": "registration metrics weights io runtime core",
    "data": "io runtime core",
    "weights": "io core",
    "metrics": "core",
    "simulate": "core",
    "registration": "core",
    "io": "core",
    "runtime": "",
    "core": "",
}
PURE = ("core", "metrics", "simulate")
IMPURE = {"cv2", "os", "pathlib", "tensorflow", "tensorflow_datasets", "orbax", "tfds_edmf"}
READS_TFDS = {"edmf_jax/data/tfds_reader.py"}  # the one file that knows our builders


def imports_of(path):
    """Every module that a file names in an import, at its head or inside a function."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}: imports are absolute"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


def files_of(folder):
    return sorted(path for path in (ROOT / folder).rglob("*.py"))


def place(path):
    return path.relative_to(ROOT).as_posix()


def test_every_package_is_on_the_map_and_the_map_has_no_circle():
    packages = {path.parent.name for path in (ROOT / "edmf_jax").glob("*/__init__.py")}
    assert packages == set(MAY_IMPORT)
    order = list(MAY_IMPORT)
    for package, allowed in MAY_IMPORT.items():
        assert all(order.index(other) > order.index(package) for other in allowed.split()), package
    assert {path.name for path in (ROOT / "edmf_jax").glob("*.py")} == {"__init__.py", "errors.py"}


def test_packages_import_what_the_map_allows():
    wrong = []
    for package, allowed in MAY_IMPORT.items():
        allowed = {package, "errors", *allowed.split()}
        for path in files_of(f"edmf_jax/{package}"):
            for name in imports_of(path):
                top, *rest = name.split(".")
                if top == "edmf_jax" and rest[0] not in allowed:
                    wrong.append(f"{place(path)} imports {name}")
                if top == "tfds_edmf" and place(path) not in READS_TFDS:
                    wrong.append(f"{place(path)} imports {name}")
    assert not wrong


def test_core_and_metrics_touch_no_files_and_no_codecs():
    wrong = [f"{place(path)} imports {name}" for package in PURE for path in files_of(f"edmf_jax/{package}")
             for name in imports_of(path) if name.split(".")[0] in IMPURE]
    assert not wrong


def test_the_data_sets_do_not_import_the_package():
    wrong = [f"{place(path)} imports {name}" for path in files_of("tfds_edmf") for name in imports_of(path)
             if name.split(".")[0] == "edmf_jax"]
    assert not wrong


def test_no_test_imports_another_and_benchmarks_serve_their_own_tests_only():
    wrong = []
    for path in files_of("tests"):
        for name in imports_of(path):
            top = name.split(".")[0]
            other_test = top == "tests" and not name.startswith("tests.helpers.")
            if other_test or top == "conftest" or top.startswith("test_"):
                wrong.append(f"{place(path)} imports {name}")
            if top in ("benchmarks", "studies") and path.parent.name != top:
                wrong.append(f"{place(path)} imports {name}")
    assert not wrong


def test_importing_does_nothing_and_fusing_needs_no_tensorflow():
    code = ("import sys, edmf_jax, edmf_jax.fusion.fuse, edmf_jax.weights.store; "
            "print([m for m in ('tensorflow', 'tensorflow_datasets', 'orbax') if m in sys.modules])")
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"
    assert out.stderr == ""
