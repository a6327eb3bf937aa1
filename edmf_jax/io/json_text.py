"""JSON as every file of ours has it: numbers that are infinite or undefined become null, never a bare NaN."""

import json
import math
from collections.abc import Mapping
from typing import Any


def to_json(record: Any, indent: int | None = 2) -> str:
    """JSON text ending in a newline.

    RFC 8259 has no NaN and no infinity; Python's `json` would write them as bare words, which other readers refuse.
    Bytes of a file's name that are no UTF-8, which Python has as lone surrogates, stand as escapes: \\udcff.

    Args:
      record: mappings, lists, tuples, strings, numbers, None.
      indent: spaces a level; None puts everything on one line.
    """
    text = json.dumps(_finite(record), indent=indent, ensure_ascii=False, allow_nan=False) + "\n"
    return text.encode(errors="backslashreplace").decode()


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
