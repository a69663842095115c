"""Read what an ONNX file declares of its inputs and outputs, and refuse one that reaches for other files.

The runtimes disagree on the declaration (OpenVINO leaves unused inputs out; both replace declared dimensions by what
they infer), so it is taken from the file itself. That needs a few field numbers of `onnx.proto` and no library: `onnx`
would bring 70 MB into every serving image.

Source:
    onnx.proto and docs/IR.md of onnx 1.23, https://github.com/onnx/onnx.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from hpi_agent.engines.base import TensorSpec
from hpi_agent.engines.protobuf_wire import Malformed, Wire, as_integer, as_span
from hpi_core.errors import EngineFailed, Refused, TooLarge
from hpi_core.formats import DType

MAX_MODEL_BYTES: Final = 2**31 - 1
"""Largest file that protobuf itself can parse. Unit: bytes."""
MAX_DEPTH: Final = 32
"""Deepest nesting of graphs inside graphs; a loop inside a branch is 3."""

ELEMENT_TYPES: Final[dict[int, DType]] = {
    1: "float32",
    2: "uint8",
    3: "int8",
    4: "uint16",
    5: "int16",
    6: "int32",
    7: "int64",
    9: "bool",
    10: "float16",
    11: "float64",
    12: "uint32",
    13: "uint64",
}
"""`TensorProto.DataType`, as far as numpy has the type: no text, no bfloat16, nothing of 4 or 8 bits but integers."""

_EXTERNAL: Final = 1


@dataclass(frozen=True)
class Declared:
    """What an ONNX file declares."""

    inputs: tuple[TensorSpec, ...]
    """Inputs the caller has to give; one with a default value in the file is none."""
    outputs: tuple[TensorSpec, ...]
    metadata: dict[str, str]
    """Custom metadata (`metadata_props`), such as the characters of a text recogniser."""


@dataclass
class _Graph:
    inputs: list[range] = field(default_factory=list)
    outputs: list[range] = field(default_factory=list)
    defaults: set[str] = field(default_factory=set)


def read_onnx(path: Path, *, weights: bool = True) -> Declared:
    """Return what an ONNX file declares, without loading its weights.

    Args:
        path: The file.
        weights: Whether to look for tensors that are stored in other files. Only callers that load the model's built
            form, which holds every weight itself, may leave it out: it is four fifths of the time (recogniser of
            PP-OCRv6: 1.3 ms instead of 6.3). A model's only input is then taken for one without a default value.

    Raises:
        EngineFailed: The file cannot be read, is cut short, is not ONNX, or declares what no engine here takes.
        Refused: A tensor of the file is stored in another file.
        TooLarge: The file is larger than protobuf allows.
    """
    try:
        with path.open("rb") as file:
            size = file.seek(0, 2)
            if size > MAX_MODEL_BYTES:
                raise TooLarge(f"{path} has {size} bytes; an ONNX file has at most {MAX_MODEL_BYTES}")
            if size == 0:
                raise Malformed("it is empty")
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped, memoryview(mapped) as data:
                return _read_model(path, Wire(data), size, weights)
    except OSError as error:
        raise EngineFailed(f"{path} cannot be read: {error.strerror}; give the path of a readable ONNX file") from error
    except Malformed as error:
        raise EngineFailed(
            f"{path} is cut short or not an ONNX model: {error}; copy or convert the model again"
        ) from error


def _read_model(path: Path, wire: Wire, size: int, weights: bool) -> Declared:
    graph: _Graph | None = None
    ir_version = 0
    metadata: dict[str, str] = {}
    for number, value in wire.fields(range(size)):
        if number == 1:  # ir_version
            ir_version = as_integer(value)
        elif number == 7:  # graph
            graph = _Graph()
            if weights:
                _read_graph(path, wire, as_span(value), 0, graph)
            else:
                _read_values(wire, as_span(value), graph)
        elif number == 14:  # metadata_props
            entry = dict(wire.fields(as_span(value)))
            if 1 in entry:
                metadata[wire.text(entry[1])] = wire.text(entry.get(2, range(0)))
        elif weights and number in (20, 25):  # training_info and functions: nodes and weights of their own
            _refuse_external_data(path, wire, as_span(value), number)
    if graph is None or ir_version < 1 or not graph.outputs:
        raise Malformed("it has no graph with outputs and no version")
    inputs = [_read_value(path, wire, span) for span in graph.inputs if _name(wire, span) not in graph.defaults]
    return Declared(tuple(inputs), tuple(_read_value(path, wire, span) for span in graph.outputs), metadata)


def _refuse_external_data(path: Path, wire: Wire, span: range, number: int) -> None:
    for inner, value in wire.fields(span):
        if number == 20 and inner in (1, 2):  # initialization, algorithm
            _read_graph(path, wire, as_span(value), 1)
        elif number == 25 and inner == 7:  # node
            _read_node(path, wire, as_span(value), 1)
        elif number == 25 and inner == 11:  # attribute_proto
            _read_attribute(path, wire, as_span(value), 1)


def _read_values(wire: Wire, span: range, graph: _Graph) -> None:
    """Read the inputs and outputs of a graph, and the names of its weights where one could be a default value."""
    tensors = []
    for number, value in wire.fields(span):
        if number == 5:
            tensors.append(as_span(value))
        elif number == 11:
            graph.inputs.append(as_span(value))
        elif number == 12:
            graph.outputs.append(as_span(value))
        elif number == 15:
            tensors.append(_only(wire, as_span(value), 1) or range(0))
    if len(graph.inputs) > 1:
        names = (_only(wire, tensor, 8) or range(0) for tensor in tensors)
        graph.defaults.update(wire.text(name) for name in names)


def _read_graph(path: Path, wire: Wire, span: range, depth: int, into: _Graph | None = None) -> None:
    if depth > MAX_DEPTH:
        raise Malformed(f"its graphs are nested more than {MAX_DEPTH} deep")
    graph = into or _Graph()
    for number, value in wire.fields(span):
        if number == 1:  # node
            _read_node(path, wire, as_span(value), depth)
        elif number == 5:  # initializer
            graph.defaults.add(_read_tensor(path, wire, as_span(value)))
        elif number == 11:
            graph.inputs.append(as_span(value))
        elif number == 12:
            graph.outputs.append(as_span(value))
        elif number == 15:  # sparse_initializer
            graph.defaults.add(_read_sparse_tensor(path, wire, as_span(value)))


def _read_node(path: Path, wire: Wire, span: range, depth: int) -> None:
    for number, value in wire.fields(span):
        if number == 5:  # attribute
            _read_attribute(path, wire, as_span(value), depth)


def _read_attribute(path: Path, wire: Wire, span: range, depth: int) -> None:
    for number, value in wire.fields(span):
        if number in (5, 10):  # t, tensors
            _read_tensor(path, wire, as_span(value))
        elif number in (6, 11):  # g, graphs
            _read_graph(path, wire, as_span(value), depth + 1)
        elif number in (22, 23):  # sparse_tensor, sparse_tensors
            _read_sparse_tensor(path, wire, as_span(value))


def _read_sparse_tensor(path: Path, wire: Wire, span: range) -> str:
    names = {
        number: _read_tensor(path, wire, as_span(value)) for number, value in wire.fields(span) if number in (1, 2)
    }
    return names.get(1, "")


def _read_tensor(path: Path, wire: Wire, span: range) -> str:
    name, external = "", False
    for number, value in wire.fields(span):
        if number == 8:
            name = wire.text(value)
        elif number == 13:  # external_data
            external = True
        elif number == 14:  # data_location
            external = external or value == _EXTERNAL
    if external:
        raise Refused(
            f"{path}: tensor {name!r} is stored in another file, named by a path inside the model; such a path could "
            "reach any file of this machine, and the model's digest would not cover it; save the model as one file"
        )
    return name


def _name(wire: Wire, span: range) -> str:
    return next((wire.text(value) for number, value in wire.fields(span) if number == 1), "")


def _read_value(path: Path, wire: Wire, span: range) -> TensorSpec:
    """Read a ValueInfoProto: name, type.tensor_type.elem_type, type.tensor_type.shape."""
    name = _name(wire, span)
    tensor = _only(wire, _only(wire, span, 2), 1)
    if tensor is None:
        raise EngineFailed(f"{path}: {name!r} is not a tensor (a sequence, map or optional); convert the model without")
    element_type, shape = 0, None
    for number, value in wire.fields(tensor):
        if number == 1:
            element_type = as_integer(value)
        elif number == 2:
            shape = tuple(_read_dimension(wire, as_span(dimension)) for _, dimension in wire.fields(as_span(value)))
    if element_type not in ELEMENT_TYPES:
        raise EngineFailed(
            f"{path}: {name!r} has element type {element_type} of onnx.TensorProto; "
            f"allowed: {', '.join(sorted(ELEMENT_TYPES.values()))}"
        )
    if shape is None:
        raise EngineFailed(f"{path}: {name!r} declares no rank; ONNX requires one of a model's inputs and outputs")
    return TensorSpec(name, ELEMENT_TYPES[element_type], shape)


def _only(wire: Wire, span: range | None, wanted: int) -> range | None:
    found: Iterator[range] = (as_span(value) for number, value in wire.fields(span or range(0)) if number == wanted)
    return next(found, None)


def _read_dimension(wire: Wire, span: range) -> int | None:
    for number, value in wire.fields(span):
        # Some converters write -1 where the format wants a name or nothing.
        if number == 1 and as_integer(value) >= 0:
            return as_integer(value)
    return None
