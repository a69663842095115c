"""The scales of interpolations in a PIR program, from float64 back to float32.

Paddle 3.3 writes them as float64 (`base_code.version` 4). paddle2onnx 2.1.0 and Paddle 3.2 read float32 alone and
refuse every detector with a feature pyramid. May go when the locked converter reads version 4.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

PATCH: Final = "interpolation-scale-float32"
PATCH_VERSION: Final = 1
"""Raised when the patch changes what it writes; a part of the key of a conversion."""

_FLOAT64: Final = "0.a_f64"
_FLOAT32: Final = "0.a_f32"


def patch_scales(document: Any) -> int:
    """Rewrite in place every float64 `scale` of an interpolation as float32, and return how many numbers changed.

    Args:
        document: A PIR program as its JSON says it: regions of blocks of operations, which may hold regions again.
            Whatever has another structure is left as it is.
    """
    changed = 0
    for operation in _operations(document):
        if not str(operation.get("#", "")).endswith("_interp"):
            continue
        for attribute in _mappings(operation.get("A")):
            if attribute.get("N") == "scale":
                changed += _to_float32(attribute.get("AT"))
    return changed


def _to_float32(value: Any) -> int:
    if not isinstance(value, dict):
        return 0
    if value.get("#") == _FLOAT64:
        value["#"] = _FLOAT32
        return 1
    return sum(_to_float32(inner) for inner in _mappings(value.get("D")) if inner.get("#") == _FLOAT64)


def _operations(document: Any) -> Iterator[Mapping[str, Any]]:
    program = document.get("program") if isinstance(document, dict) else None
    open_regions = [program]
    while open_regions:
        holder = open_regions.pop()
        for region in _mappings(holder.get("regions") if isinstance(holder, dict) else None):
            for block in _mappings(region.get("blocks")):
                for operation in _mappings(block.get("ops")):
                    yield operation
                    open_regions.append(operation)


def _mappings(value: Any) -> list[dict[str, Any]]:
    return [inner for inner in value if isinstance(inner, dict)] if isinstance(value, list) else []
