"""Offline models of the doubles: the header of the real ones, then what was said to ATC, then the graph itself."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final

from onnx import helper

from doubles.onnx_graph import Graph, Shapes

MAGIC: Final = b"IMOD"
HEADER_BYTES: Final = 256
GEAR_INPUT: Final = "ascend_mbatch_shape_data"
ACL_TYPES: Final = {
    "float32": 0,
    "float16": 1,
    "int8": 2,
    "int32": 3,
    "uint8": 4,
    "int16": 6,
    "uint16": 7,
    "uint32": 8,
    "int64": 9,
    "uint64": 10,
    "float64": 11,
    "bool": 12,
}
LARGEST: Final = 1_000


@dataclass(frozen=True)
class OfflineModel:
    """One model for one chip.

    Attributes:
        onnx: The graph.
        chip: What it is for.
        shapes: By input, -1 for what a gear decides.
        mode: `--precision_mode_v2`.
        kind: Which option made the gears; None: it has none.
        gears: The sizes of each, in the order of the free dimensions of all inputs.
    """

    onnx: bytes = field(repr=False)
    chip: str
    shapes: Mapping[str, tuple[int, ...]]
    mode: str = "fp16"
    kind: str | None = None
    gears: tuple[tuple[int, ...], ...] = ()

    @classmethod
    def from_bytes(cls, content: bytes) -> OfflineModel:
        """Return the model of a file.

        Raises:
            ValueError: It is none.
        """
        if not content.startswith(MAGIC) or len(content) <= HEADER_BYTES:
            raise ValueError("no offline model")
        said, _, onnx = content[HEADER_BYTES:].partition(b"\n")
        written = json.loads(said)
        shapes = {name: tuple(shape) for name, shape in written["shapes"].items()}
        gears = tuple(tuple(gear) for gear in written["gears"])
        return cls(onnx, written["chip"], shapes, written["mode"], written["kind"], gears)

    def to_bytes(self) -> bytes:
        """Return the file."""
        said = {
            "chip": self.chip,
            "shapes": {name: list(shape) for name, shape in self.shapes.items()},
            "mode": self.mode,
            "kind": self.kind,
            "gears": [list(gear) for gear in self.gears],
        }
        return MAGIC + bytes(HEADER_BYTES - len(MAGIC)) + json.dumps(said).encode() + b"\n" + self.onnx

    @cached_property
    def graph(self) -> Graph:
        """What is computed."""
        return Graph(self.onnx)

    @property
    def names(self) -> list[str]:
        """The inputs in order, the one that carries the gear last."""
        return [value.name for value in self.graph.inputs] + ([GEAR_INPUT] if self.kind else [])

    @property
    def flags(self) -> frozenset[str]:
        """How it rounds."""
        return frozenset({"FP16"}) if self.mode == "fp16" else frozenset()

    def dtype(self, value: Any) -> str:
        """Return the type of an input or output."""
        return str(helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type).name)

    def fixed(self, gear: Sequence[int] | None) -> Shapes:
        """Return the shapes of all inputs in one gear; None: the largest."""
        sizes = list(gear if gear is not None else max(self.gears, default=()))
        shapes = []
        left = list(sizes)
        for value in self.graph.inputs:
            declared = self.shapes[value.name]
            if self.kind == "dimensions":
                shape = tuple(left[: len(declared)])
                left = left[len(declared) :]
            else:
                # The same sizes for every input that has free dimensions.
                free = iter(sizes)
                shape = tuple(next(free) if size < 0 else size for size in declared)
            shapes.append((value.name, shape))
        return tuple(shapes)

    def output_name(self, position: int) -> str:
        """Return what ATC calls an output: its node, a number, its name."""
        name = self.graph.outputs[position].name
        node = next((one for one in self.graph.proto.graph.node if name in one.output), None)
        return f"{(node.name or node.op_type) if node is not None else 'Data'}:0:{name}"
