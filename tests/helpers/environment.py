"""The environment of a command that a test starts."""

import os
import re

QUICKLY_COMPILED = "--xla_backend_optimization_level=0"
"""XLA's flag for commands that a test starts to interrupt them, not to see what they compute."""


def one_device(**variables: str) -> dict[str, str]:
    """This process's environment with one CPU device, as most users have, and with other `variables`."""
    flags = re.sub(r"--xla_force_host_platform_device_count=\d+", "", os.environ.get("XLA_FLAGS", "")).strip()
    return {**os.environ, "XLA_FLAGS": flags, **variables}
