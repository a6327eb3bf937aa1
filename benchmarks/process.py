"""Sets up the process of a measurement as the commands do, and describes the machine."""

import os
import platform
import sys
from importlib import metadata

from edmf_jax.runtime import process

VERSIONS = ("jax", "jaxlib", "flax", "torch", "numpy", "opencv-python-headless")


def prepare() -> None:
    """Does what the commands do before jax makes arrays; torch gets the same allocator.  Call it first."""
    # Processes share a GPU here, so none may reserve most of its memory at the start.
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    process.tune_allocator()


def cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


def load_average() -> str:
    """The load average of the last minute, which tells how idle the machine was."""
    return f"{os.getloadavg()[0]:.2f}" if hasattr(os, "getloadavg") else "unknown"


def peak_rss_bytes() -> int:
    """The peak of this process's resident memory, compiling included; 0 if the system does not report it."""
    try:
        import resource
    except ImportError:
        return 0
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024


def version(package: str) -> str | None:
    """The installed version of a package; None if it is not installed."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def environment() -> dict[str, str]:
    """The conditions of a measurement: device, processor, versions, flags, load."""
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
    """The processor's name as the system reports it."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:
            names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    except OSError:
        names = []
    return names[0] if names else platform.processor() or platform.machine()
