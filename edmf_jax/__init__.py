"""Multi-focus image fusion under exposure differences: the EDMF system in JAX and Flax.

    import edmf_jax
    fused = edmf_jax.fuse([shot_a, shot_b], weights="DIR")

Packages, from the pure functions up (tests/test_layers.py says which may import which):

- core: the paper's method as functions of arrays; metrics, registration: of pictures;
- io, runtime, data, weights: files, processes and signals, data sets, parameters;
- training, fusion, evaluation: the three jobs;
- reports, workflows, cli: pages and pictures of results, sequences of jobs, and the command `edmf`.

Importing this package does not import jax; a public name's module is imported when the name is first used.
"""

import importlib

_PUBLIC = {
    "fuse": "edmf_jax.fusion.fuse",
    "load_pretrained": "edmf_jax.weights.store",
    "load_weights": "edmf_jax.weights.store",
}
__all__ = sorted(_PUBLIC)


def __getattr__(name):
    if name in _PUBLIC:
        return getattr(importlib.import_module(_PUBLIC[name]), name)
    raise AttributeError(f"module 'edmf_jax' has no attribute {name!r}")


def __dir__():
    return sorted({*globals(), *_PUBLIC})
