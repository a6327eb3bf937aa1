"""Compiles the paper's training step for a TPU topology that is not here (run by test_compile_targets).

    TPU_LIBRARY_PATH=…/libtpu.so TPU_SKIP_MDS_QUERY=1 JAX_PLATFORMS=cpu python tests/compile_for.py v5e:2x4 FOLDER

Writes FOLDER/record.json (the account of bytes) and FOLDER/program.txt (the optimised program).
"""

import json
import math
import re
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import topologies
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from edmf_jax import memory, model, state, steps
from edmf_jax.config import load_config
from edmf_jax.patches import Layout
from edmf_jax.state import DEVICES, Sources, TrainState
from edmf_jax.train import ACCELERATOR_STEPS_PER_CALL, make_recipe

# The 450 training pairs of EDMF, 0.535 MP on average, in eight atlases of 4096 px.
ATLAS = (2, 8192, 4096)


def abstract_arguments(recipe, mesh, patch_px, slots):
    """The step's arguments as shapes with shardings."""
    layout = recipe.layout

    def initial():
        params = model.init_params(recipe.model, jax.random.key(0))
        bank = memory.init_bank(layout.places, slots, patch_px)
        return TrainState(jnp.zeros((), jnp.int32), params, recipe.optimizer.init(params), bank)

    def shaped(shape, dtype, *axes):
        return jax.ShapeDtypeStruct(shape, dtype, sharding=NamedSharding(mesh, PartitionSpec(*axes)))

    shapes = jax.eval_shape(initial)
    placed = jax.tree.map(lambda x, s: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=s), shapes,
                          state.shardings(mesh, shapes))
    devices, own = mesh.size, layout.places // mesh.size
    sources = Sources(shaped((devices, *ATLAS), np.uint8, DEVICES), shaped((devices, own, 2), np.int32, DEVICES),
                      shaped((devices, own), np.bool_, DEVICES))
    order = shaped((devices, layout.steps_per_epoch, layout.batch // devices), np.int32, DEVICES)
    return placed, sources, order, shaped((), np.int32)


def main(topology: str, folder: str) -> None:
    """Compiles, and writes both files."""
    config = load_config(str(Path(__file__).parent.parent / "configs" / "edmf.py"))
    devices = topologies.get_topology_desc(platform="tpu", topology_name=topology).devices
    mesh = Mesh(np.array(devices), (DEVICES,))
    layout = Layout(config.data.patches, config.data.logical_shards, config.train.batch)
    recipe = make_recipe(config, layout)._replace(model=model.make_model(config.model.width, platform="tpu"),
                                                  steps_per_call=ACCELERATOR_STEPS_PER_CALL)
    arguments = abstract_arguments(recipe, mesh, config.data.patch_px, config.memory.slots)
    lowered = steps.make_sharded_step(recipe, mesh).lower(*arguments)
    convolutions = re.findall(r"stablehlo\.convolution.*?feature_group_count = (\d+)", lowered.as_text(), re.DOTALL)
    compiled = lowered.compile()
    program = compiled.as_text()
    sums = [tuple(map(int, shape.split(","))) for shape in re.findall(r"= f32\[([\d,]+)\]\S* all-reduce\(", program)]
    found, params = compiled.memory_analysis(), arguments[0].params
    record = {
        "device": devices[0].device_kind, "devices": len(devices),
        "memory": {"argument": found.argument_size_in_bytes, "output": found.output_size_in_bytes,
                   "alias": found.alias_size_in_bytes, "temporary": found.temp_size_in_bytes,
                   "code": found.generated_code_size_in_bytes, "host": found.host_temp_size_in_bytes},
        "bank": memory.bank_bytes(layout.places, config.memory.slots, config.data.patch_px) // len(devices),
        "sources": math.prod(ATLAS), "parameters": sum(math.prod(x.shape) for x in jax.tree.leaves(params)),
        "all_reduce_bytes": 4 * sum(map(math.prod, sums)), "convolution_groups": list(map(int, convolutions)),
        "flops": compiled.cost_analysis().get("flops"),
    }
    Path(folder, "record.json").write_text(json.dumps(record, indent=2))
    Path(folder, "program.txt").write_text(program)


if __name__ == "__main__":
    main(*sys.argv[1:])
