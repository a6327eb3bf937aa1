"""Multi-focus image fusion under exposure differences: the EDMF system in JAX and Flax.

    import edmf_jax
    fused = edmf_jax.fuse([shot_a, shot_b], weights="DIR")

Importing it imports no jax; a name's module is imported when the name is first used.
"""

import importlib

_PUBLIC = {
    "fuse": "edmf_jax.fusion",
    "load_pretrained": "edmf_jax.weights",
    "load_weights": "edmf_jax.weights",
}
__all__ = sorted(_PUBLIC)


def __getattr__(name):
    if name in _PUBLIC:
        return getattr(importlib.import_module(_PUBLIC[name]), name)
    raise AttributeError(f"module 'edmf_jax' has no attribute {name!r}")


def __dir__():
    return sorted({*globals(), *_PUBLIC})
