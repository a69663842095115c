"""What TensorRT is told for each precision, and what it needs of the device and the model.

A network is made strongly typed wherever the model's own types say what is to be computed: then float32 stays float32,
float16 inside a model stays float16, and what has been quantised is computed in int8. Only float16 and bfloat16 of a
float32 model need the older kind of network, in which TensorRT may choose a narrower type for each layer.

Source:
    TensorRT Python API, "Builder", `BuilderFlag` and `NetworkDefinitionCreationFlag`; TensorRT support matrix,
    "Hardware and Precision" (TF32 and BF16 from compute capability 8.0 on).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Final

from hpi_agent.engines.cuda_runtime import Capability, DeviceFacts
from hpi_core.errors import EngineFailed, Refused
from hpi_core.formats import Precision


@dataclass(frozen=True)
class Arithmetic:
    """How a precision is asked for."""

    strongly_typed: bool
    flags: frozenset[str]
    """Those of `PRECISION_FLAGS` that are set; every other one is cleared."""
    least_capability: Capability = (0, 0)
    """The oldest device that computes so; TensorRT itself refuses what is older than its release."""


PRECISION_FLAGS: Final = ("TF32", "FP16", "BF16", "INT8", "FP8")
"""Every flag of the builder that decides what is computed in. TF32 is on unless it is cleared."""

ARITHMETIC: Final[Mapping[Precision, Arithmetic]] = MappingProxyType(
    {
        "float32": Arithmetic(True, frozenset()),
        "tf32": Arithmetic(True, frozenset({"TF32"}), (8, 0)),
        # What is left in float32 may use TF32: it has the mantissa of float16 and more than that of bfloat16.
        "float16": Arithmetic(False, frozenset({"FP16", "TF32"})),
        "bfloat16": Arithmetic(False, frozenset({"BF16", "TF32"}), (8, 0)),
        "int8": Arithmetic(True, frozenset({"TF32"})),
    }
)


QUANTISED: Final = "INT8"
"""The one type that a model may be quantised to."""


def check_device(precision: Precision, facts: DeviceFacts) -> None:
    """Fail where a device would compute in another precision than asked for, without a word.

    Raises:
        EngineFailed: It is too old; the text names both.
    """
    needed = ARITHMETIC[precision].least_capability
    if facts.capability < needed:
        raise EngineFailed(
            f"{facts.name} has compute capability {format_capability(facts.capability)}, {precision} needs "
            f"{format_capability(needed)}; ask for float32 or float16"
        )


def check_quantised(path: Path, precision: Precision, types: Collection[str]) -> None:
    """Refuse a precision that is not the one that a model's nodes say.

    Args:
        path: The model.
        precision: What is asked for.
        types: What its nodes quantise to, as `DataType` of TensorRT calls it; empty for a model that is not quantised.

    Raises:
        Refused: int8 of a model that nobody quantised, another precision of one that is, or a model that is quantised
            to anything but int8.
    """
    if others := sorted(set(types) - {QUANTISED}):
        raise Refused(
            f"{path} is quantised to {', '.join(others)}; only int8 is computed here; quantise the model to int8, or "
            "give it as it was before"
        )
    if precision == "int8" and not types:
        raise Refused(
            f"{path} has no QuantizeLinear and DequantizeLinear nodes; int8 is computed only where they stand, for "
            "nothing is calibrated here; quantise the model first, or ask for float16"
        )
    if precision != "int8" and types:
        raise Refused(
            f"{path} is quantised (QuantizeLinear and DequantizeLinear nodes): it computes in int8, {precision} was "
            "asked for; ask for int8, or give the model before its quantisation"
        )


def format_capability(capability: Capability) -> str:
    """Return a compute capability as NVIDIA writes it: `8.6`."""
    return ".".join(map(str, capability))
