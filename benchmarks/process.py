"""The process that a measurement runs in: set up as the commands set theirs up, and what machine it is on."""

import os
import platform
import sys
from importlib import metadata

from edmf_jax import runtime

VERSIONS = ("jax", "jaxlib", "flax", "torch", "numpy", "opencv-python-headless")


def prepare() -> None:
    """What the commands do before jax makes its arrays; torch gets the same allocator.  Call it first."""
    # Two processes share a GPU here: none may take most of its memory in advance.
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    runtime.tune_allocator()


def cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


def load_average() -> str:
    """Processes that want to run, over the last minute; tells a reader how quiet the machine was."""
    return f"{os.getloadavg()[0]:.2f}" if hasattr(os, "getloadavg") else "unknown"


def peak_rss_bytes() -> int:
    """The most memory that this process has had, compiling included; 0 where the system doesn't say."""
    try:
        import resource
    except ImportError:
        return 0
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024


def version(package: str) -> str | None:
    """The installed version, None where there is none."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def environment() -> dict[str, str]:
    """What a number means nothing without."""
    import jax

    device = jax.devices()[0]
    versions = [f"{name} {version(name)}" for name in VERSIONS if version(name)]
    return {
        "device": f"{device.platform}, {device.device_kind}",
        "processor": f"{processor()}, {cores()} cores",
        "versions": f"Python {platform.python_version()}, " + ", ".join(versions),
        "XLA_FLAGS": os.environ.get("XLA_FLAGS", "") or "none",
        "load average at the start": load_average(),
    }


def processor() -> str:
    """The processor's name as the system gives it."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:
            names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    except OSError:
        names = []
    return names[0] if names else platform.processor() or platform.machine()
