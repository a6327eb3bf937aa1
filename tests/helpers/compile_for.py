"""Compiles the paper's training step for devices that are not here (run by tests/training/test_compile_targets.py).

    TPU_LIBRARY_PATH=…/libtpu.so TPU_SKIP_MDS_QUERY=1 JAX_PLATFORMS=cpu \\
        python tests/helpers/compile_for.py v5e:2x4 FOLDER
    JAX_PLATFORMS=cpu PYTHONPATH=… python tests/helpers/compile_for.py h200 FOLDER --config.model.dtype=bfloat16

A GPU is described by a file beside this one, and needs JAX's CUDA plugin on the path.  Writes FOLDER/record.json
(memory, communication, convolutions) and, for a GPU, the program's text, FOLDER/program.txt.
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

from edmf_jax.core import memory, model
from edmf_jax.training import state, steps
from edmf_jax.training.config import load_config
from edmf_jax.training.patches import PatchLayout
from edmf_jax.training.state import DEVICES, Sources, TrainState
from edmf_jax.training.train import ACCELERATOR_STEPS_PER_CALL, make_step_config

sys.path.insert(0, str(Path(__file__).parents[2]))
from tests.helpers.programs import communication, convolution_groups

GPUS = ("h100", "h200")
# The 450 training pairs of EDMF, 0.535 MP on average, in eight atlases of 4096 px.
ATLAS = (2, 8192, 4096)


def abstract_arguments(step_config, mesh, patch_px, slots):
    """The arguments of the step as shapes with shardings; no array is made."""
    layout = step_config.layout

    def initial():
        params = model.init_params(step_config.model, jax.random.key(0))
        bank = memory.init_bank(layout.bank_rows, slots, patch_px)
        return TrainState(jnp.zeros((), jnp.int32), params, step_config.optimizer.init(params), bank)

    def shaped(shape, dtype, *axes):
        return jax.ShapeDtypeStruct(shape, dtype, sharding=NamedSharding(mesh, PartitionSpec(*axes)))

    shapes = jax.eval_shape(initial)
    placed = jax.tree.map(lambda x, s: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=s), shapes,
                          state.shardings(mesh, shapes))
    devices, rows_per_device = mesh.size, layout.bank_rows // mesh.size
    sources = Sources(shaped((devices, *ATLAS), np.uint8, DEVICES),
                      shaped((devices, rows_per_device, 2), np.int32, DEVICES),
                      shaped((devices, rows_per_device), np.bool_, DEVICES))
    order = shaped((devices, layout.steps_per_epoch, layout.batch // devices), np.int32, DEVICES)
    return placed, sources, order


def described_devices(target: str) -> list:
    """The devices of a TPU topology like "v5e:2x4", or one GPU of `GPUS`."""
    if target not in GPUS:
        return topologies.get_topology_desc(platform="tpu", topology_name=target).devices
    description = Path(__file__).with_name(f"{target}.txtpb").read_text()
    return topologies.get_topology_desc(platform="cuda", topology_name=target, target_config=description,
                                        topology="1x1x1").devices


def main(target: str, folder: str, *overrides: str) -> None:
    """Compiles the step and writes both files."""
    config = load_config(str(Path(__file__).parents[2] / "configs" / "edmf.py"), overrides)
    devices = described_devices(target)
    mesh = Mesh(np.array(devices), (DEVICES,))
    layout = PatchLayout(config.data.patches, config.data.logical_shards, config.train.batch)
    network = model.make_model(config.model.width, config.model.dtype, "gpu" if target in GPUS else "tpu",
                               config.train.precision)
    step_config = make_step_config(config, layout)._replace(model=network, steps_per_call=ACCELERATOR_STEPS_PER_CALL)
    arguments = abstract_arguments(step_config, mesh, config.data.patch_px, config.memory.slots)
    traced = steps.make_sharded_step(step_config, mesh).trace(*arguments, ACCELERATOR_STEPS_PER_CALL)
    compiled = traced.lower().compile()
    if target in GPUS:
        Path(folder, "program.txt").write_text(compiled.as_text())
    found, params = compiled.memory_analysis(), arguments[0].params
    record = {
        "device": devices[0].device_kind, "devices": len(devices),
        "memory": {"argument": found.argument_size_in_bytes, "output": found.output_size_in_bytes,
                   "alias": found.alias_size_in_bytes, "temporary": found.temp_size_in_bytes,
                   "code": found.generated_code_size_in_bytes, "host": found.host_temp_size_in_bytes},
        "bank": memory.bank_bytes(layout.bank_rows, config.memory.slots, config.data.patch_px) // len(devices),
        "sources": math.prod(ATLAS), "parameters": sum(math.prod(x.shape) for x in jax.tree.leaves(params)),
        "communication": communication(compiled.as_text()),
        "convolution_groups": convolution_groups(traced.jaxpr.jaxpr),
        # How often the loops run whose length XLA knows.
        "trip_counts": re.findall(r'"known_trip_count":{"n":"(\d+)"', compiled.as_text()),
        "flops": (compiled.cost_analysis() or {}).get("flops"),  # a GPU that is not here has none
    }
    Path(folder, "record.json").write_text(json.dumps(record, indent=2))


if __name__ == "__main__":
    main(*sys.argv[1:])
