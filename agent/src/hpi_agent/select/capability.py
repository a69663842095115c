"""In which precisions an accelerator computes at speed; pure."""

from __future__ import annotations

from typing import Final

from hpi_agent.profile import AcceleratorClass
from hpi_core.formats import Precision

SINCE: Final[dict[Precision, tuple[int, int]]] = {"tf32": (8, 0), "bfloat16": (8, 0), "float16": (5, 3), "int8": (6, 1)}
"""First compute capability of NVIDIA with a precision.

Source:
    NVIDIA TensorRT documentation, "Support Matrix", hardware and precision.
"""

SLOW: Final[dict[Precision, tuple[tuple[int, int], ...]]] = {"float16": ((6, 1),), "int8": ((6, 2),)}
"""Later ones that compute in it at a fraction of float32's speed, or not at all."""


def cannot_compute_in(precision: Precision, accelerator: AcceleratorClass | None) -> str | None:
    """Return why an accelerator is not tried in a precision, or None: nothing speaks against it, as far as is known."""
    if accelerator is None or accelerator.compute_capability is None or precision not in SINCE:
        return None
    major, _, minor = accelerator.compute_capability.partition(".")
    if not (major.isdecimal() and minor.isdecimal()):
        return None
    capability = (int(major), int(minor))
    if capability >= SINCE[precision] and capability not in SLOW.get(precision, ()):
        return None
    known = f"{accelerator.product or 'this GPU'}, compute capability {accelerator.compute_capability},"
    return f"{known} does not compute in {precision} at speed"
