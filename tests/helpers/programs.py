"""What a compiled program communicates and what a traced one computes, whatever XLA's version calls the details."""

import math
import re
from collections import Counter

import jax.extend.core

# Operations that move data between devices or to the host, also in their asynchronous halves.
COLLECTIVES = ("all-reduce", "all-gather", "all-to-all", "collective-permute", "reduce-scatter",
               "collective-broadcast", "ragged-all-to-all", "infeed", "outfeed", "send", "recv")
_OPERATION = re.compile(rf"= ([^=]*?) ({'|'.join(COLLECTIVES)})(-start)?\(")


def communication(program: str) -> dict[str, int]:
    """Operation → bytes of its results, summed over an optimized program's text.

    A result may be one array or several; the asynchronous form names the operands as well, so it counts for half.
    """
    found = Counter()
    for shapes, operation, start in _OPERATION.findall(program):
        size = sum(_bytes(dtype) * math.prod(map(int, filter(None, dims.split(","))))
                   for dtype, dims in re.findall(r"\b([a-z]+\d*)\[([\d,]*)\]", shapes))
        found[operation] += size // 2 if start and shapes.startswith("((") else size
    return dict(found)


def _bytes(dtype: str) -> int:
    return max(1, int(re.sub(r"\D.*$", "", re.sub(r"^\D+", "", dtype)) or 8) // 8)


def convolution_groups(jaxpr: jax.extend.core.Jaxpr) -> list[int]:
    """The `feature_group_count` of every convolution in a traced program and the programs within it."""
    groups = []
    for equation in jaxpr.eqns:
        if equation.primitive.name == "conv_general_dilated":
            groups.append(equation.params["feature_group_count"])
        for value in equation.params.values():
            for inner in value if isinstance(value, tuple | list) else (value,):
                inner = getattr(inner, "jaxpr", inner)
                if hasattr(inner, "eqns"):
                    groups += convolution_groups(inner)
    return groups
