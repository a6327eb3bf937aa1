"""What every test runs under: fake devices, strict broadcasting, warnings as errors (pyproject.toml)."""

import contextlib
import os
import shutil
from pathlib import Path

# Before jax is imported anywhere.
os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count=4".strip()
os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
for name in ("EDMF_DIR", "EDMF_ALLOW_MISSING", "TFDS_DATA_DIR"):
    os.environ.pop(name, None)

import jax
import numpy as np
import pytest

from tests.helpers.golden import GOLDEN

jax.config.update("jax_numpy_rank_promotion", "raise")
# Files with few tests that take long begin first: one of them at the end would leave the other worker without work.
BEGIN_WITH = ("training/test_compile_targets.py", "benchmarks/test_rows.py", "cli/test_main.py", "test_kills.py",
              "training/test_distributed.py", "test_readme.py", "training/test_steps.py", "training/test_train.py",
              "weights/test_exporting.py", "evaluation/test_evaluate.py")


def pytest_collection_modifyitems(items):
    first = {Path(__file__).parent / name: i for i, name in enumerate(BEGIN_WITH)}
    items.sort(key=lambda item: first.get(item.path, len(first)))


@pytest.fixture(scope="session", autouse=True)
def compilation_cache(tmp_path_factory):
    """What one test compiled, no other test, command that a test starts, or process of pytest need compile again."""
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent  # of all workers
    folder = str(folder / "compiled")
    # JAX locks a cache of limited size only; without a lock one process may read what another has half written.
    for name, value in (("compilation_cache_dir", folder), ("compilation_cache_max_size", 2**33),
                        ("persistent_cache_min_compile_time_secs", 0.2)):
        jax.config.update(f"jax_{name}", value)
        os.environ[f"JAX_{name.upper()}"] = str(value)
    return folder


@pytest.fixture
def reference():
    """Loads one of the reference files made by other programs: `reference("train_step")`."""
    return lambda name: dict(np.load(GOLDEN / f"{name}.npz"))


@pytest.fixture
def rng():
    return np.random.default_rng(20261122)


@pytest.fixture(scope="session")
def data_dir(tmp_path_factory):
    """A folder for prepared TFDS data, shared by the session's tests."""
    return tmp_path_factory.mktemp("tfds")


@pytest.fixture
def tiny_files():
    """A disk that is full after so many bytes of a file: the limit on the size of this process's files."""
    resource = pytest.importorskip("resource")

    @contextlib.contextmanager
    def limited(size):
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)

    return limited


BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


@pytest.fixture(scope="module")
def browser():
    """A Chromium that is installed here, driven by playwright; skips where there is none."""
    playwright = pytest.importorskip("playwright.sync_api", reason="needs the package playwright (extra dev)")
    path = next(filter(None, (shutil.which(name) for name in BROWSERS)), None)
    if path is None:
        pytest.skip(f"needs a browser, one of {', '.join(BROWSERS)}")
    with playwright.sync_playwright() as driver:
        # Root, as in containers, has no sandbox; the page is our own.
        browser = driver.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-gpu"])
        yield browser
        browser.close()


@pytest.fixture
def visit(browser):
    """Opens a page by its address; at the end nothing was requested besides it and nothing was complained about."""
    contexts, complaints, requests, visited = [], [], [], set()

    def visit(address, width=1280, height=900, **options):
        context = browser.new_context(viewport={"width": width, "height": height}, **options)
        contexts.append(context)
        visited.add(address)
        page = context.new_page()
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("request", lambda request: requests.append(request.url))
        page.goto(address)
        return page

    yield visit
    for context in contexts:
        context.close()
    assert complaints == []
    assert {url for url in requests if not url.startswith("data:")} == visited
