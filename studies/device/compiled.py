"""Compiles the network by kernels, forward and backward, for a GPU that is not here, to read what it would move.

    JAX_PLATFORMS=cpu PYTHONPATH=PLUGIN python studies/device/compiled.py tests/helpers/h200.txtpb FOLDER bfloat16

PLUGIN has JAX's CUDA plugin.  Writes the program's text, FOLDER/program.txt, and its temporaries in bytes,
FOLDER/record.json.
"""

import json
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import topologies
from jax.sharding import Mesh, NamedSharding, PartitionSpec

sys.path.insert(0, str(Path(__file__).parents[2]))
from edmf_jax.core.model import init_params, make_model
from studies.device import candidates

BATCH, PATCH_PX = 48, 256


def know_the_gpu() -> None:
    """Tells Pallas that it lowers for a Hopper GPU: it asks the device, and there is none."""
    try:
        from jax._src.pallas.triton import gpu_info
    except ImportError:  # an earlier JAX, which does not ask
        return
    found = gpu_info.get_gpu_info_from_version(gpu_info.GpuVersion.H200)
    gpu_info.get_gpu_info = lambda: found


def main(description: str, folder: str, dtype: str) -> None:
    """Compiles, and writes both files."""
    know_the_gpu()
    devices = topologies.get_topology_desc(platform="cuda", topology_name="gpu", topology="1x1x1",
                                           target_config=Path(description).read_text()).devices
    sharding = NamedSharding(Mesh(np.array(devices), ("devices",)), PartitionSpec())
    shapes = jax.eval_shape(lambda: init_params(make_model(16), jax.random.key(0)))
    params = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding), shapes)
    sources = jax.ShapeDtypeStruct((BATCH, PATCH_PX, PATCH_PX, 2), jnp.float32, sharding=sharding)
    network = candidates.kernels(dtype, layers=candidates.LAYERS)
    both = jax.value_and_grad(lambda params, x: jnp.mean(jnp.square(network.function(params, x))))
    compiled = jax.jit(both).lower(params, sources).compile()
    Path(folder, "program.txt").write_text(compiled.as_text())
    Path(folder, "record.json").write_text(json.dumps({"temporary": compiled.memory_analysis().temp_size_in_bytes}))


if __name__ == "__main__":
    main(*sys.argv[1:])
