"""What a program compiled for a GPU moves through memory: kernels and bytes, read from its optimized text.

XLA has no cost analysis for a GPU that is not here.  Operands and results of every fusion, library call, copy and
scatter are added up, those in loop bodies once, those smaller than 64 kB not at all.  Caches are not considered, and a
kernel that reads a part of an array counts for all of it.  So this is an upper bound of the traffic, and a fair way to
compare two programs.
"""

import math
import re
from typing import NamedTuple

SMALLEST_BYTES = 1 << 16
_ITEM_BYTES = {"pred": 1, "s8": 1, "u8": 1, "s16": 2, "u16": 2, "bf16": 2, "f16": 2, "s32": 4, "u32": 4, "f32": 4,
               "s64": 8, "u64": 8, "f64": 8}
# Instructions that move nothing themselves.
_FREE = {"parameter", "constant", "tuple", "get-tuple-element", "bitcast", "while", "conditional", "call", "after-all",
         "iota", "partition-id"}
_ARRAY = re.compile(r"\b(pred|[suf]\d+|bf16)\[([\d,]*)\]")
_COMPUTATION = re.compile(r"^(?:ENTRY )?%?([\w.\-]+) .*\{$")
_INSTRUCTION = re.compile(r"^\s+(?:ROOT )?%?([\w.\-]+) = (\(.*?\)|\S+) ([\w\-]+)\((.*)$")


class Kernel(NamedTuple):
    """One kernel, or one call of a library.

    `kind` is the target of a library call, else the instruction ("fusion", "scatter", …).
    """

    kind: str
    name: str
    result: str  # its type
    operands: tuple[str, ...]  # their types

    @property
    def bytes(self) -> int:
        return array_bytes(self.result) + sum(map(array_bytes, self.operands))


def array_bytes(types: str) -> int:
    """Bytes of all arrays that a type names."""
    return sum(_ITEM_BYTES.get(dtype, 4) * math.prod(int(n) for n in dims.split(",") if n)
               for dtype, dims in _ARRAY.findall(types))


def kernels(program: str) -> list[Kernel]:
    """The kernels of an optimized program that move at least `SMALLEST_BYTES`, in the order of its text."""
    within = set(re.findall(r"(?:calls|to_apply)=%?([\w.\-]+)", program))
    found, types, computation = [], {}, None
    for line in program.splitlines():
        if head := _COMPUTATION.match(line):
            computation = head[1]
        elif row := _INSTRUCTION.match(line):
            name, result, instruction, rest = row.groups()
            types[name] = result
            if computation in within or instruction in _FREE:
                continue
            target = re.search(r'custom_call_target="([^"]*)"', rest)
            operands = re.findall(r"%([\w.\-]+)", rest.split("), ")[0])
            found.append(Kernel(target[1] if target else instruction, name, result,
                                tuple(types.get(operand, "") for operand in operands)))
    return [kernel for kernel in found if kernel.bytes >= SMALLEST_BYTES]
