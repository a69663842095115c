"""The double of TensorRT's networks and of its ONNX parser.

Source:
    `docs/operators.md` of onnx-tensorrt, "ONNX operator support" (types by operator); `ModelImporter.cpp`.
"""

from __future__ import annotations

import weakref
from typing import Any, Final

from doubles.onnx_graph import Graph
from doubles.tensorrt_words import (
    ONNX_TYPES,
    DataType,
    Dims,
    ILogger,
    LayerType,
    NetworkDefinitionCreationFlag,
    checked,
    error,
)

FLOATS: Final = frozenset({"float32", "float16"})
NUMBERS: Final = FLOATS | {"int32", "int64"}
ANY: Final = NUMBERS | {"bool"}
OPERATORS: Final[dict[str, frozenset[str]]] = {
    **dict.fromkeys(
        (
            "AveragePool",
            "BatchNormalization",
            "Clip",
            "Conv",
            "ConvTranspose",
            "Erf",
            "Gemm",
            "GlobalAveragePool",
            "HardSigmoid",
            "HardSwish",
            "MatMul",
            "MaxPool",
            "NonZero",
            "Pow",
            "QuantizeLinear",
            "Resize",
            "Sigmoid",
            "Softmax",
            "Sqrt",
        ),
        FLOATS,
    ),
    **dict.fromkeys(
        (
            "Add",
            "Div",
            "Greater",
            "Mul",
            "Neg",
            "ReduceMax",
            "ReduceMean",
            "ReduceSum",
            "Relu",
            "Sub",
        ),
        NUMBERS,
    ),
    **dict.fromkeys(
        (
            "Concat",
            "Constant",
            "ConstantOfShape",
            "Expand",
            "Flatten",
            "Gather",
            "Identity",
            "If",
            "Reshape",
            "Shape",
            "Slice",
            "Squeeze",
            "Transpose",
            "Unsqueeze",
        ),
        ANY,
    ),
    "Cast": ANY | {"uint8"},
    "DequantizeLinear": frozenset({"int8", "float8_e4m3fn"}),
    "Not": frozenset({"bool"}),
}
"""The types that an operator takes at its first input."""

LAYERS: Final = {
    "Conv": LayerType.CONVOLUTION,
    "Cast": LayerType.CAST,
    "Shape": LayerType.SHAPE,
    "QuantizeLinear": LayerType.QUANTIZE,
    "DequantizeLinear": LayerType.DEQUANTIZE,
}


class ITensor:
    """One tensor of a network."""

    def __init__(self, name: str, shape: tuple[int, ...], dtype: DataType, is_shape_tensor: bool) -> None:
        self._name, self._shape, self._dtype, self._is_shape = name, Dims(shape), dtype, is_shape_tensor

    @property
    def name(self) -> str:
        return self._name

    @property
    def shape(self) -> Dims:
        return self._shape

    @property
    def dtype(self) -> DataType:
        return self._dtype

    @property
    def is_shape_tensor(self) -> bool:
        return self._is_shape


class ILayer:
    """One layer."""

    def __init__(self, kind: LayerType, inputs: list[ITensor | None], outputs: list[ITensor | None]) -> None:
        self._kind, self._inputs, self._outputs = kind, inputs, outputs

    @property
    def type(self) -> LayerType:
        return self._kind

    def get_input(self, index: int) -> ITensor | None:
        return self._inputs[index] if index < len(self._inputs) else None

    def get_output(self, index: int) -> ITensor | None:
        return self._outputs[index] if index < len(self._outputs) else None


class INetworkDefinition:
    """A network; empty until a parser fills it."""

    def __init__(self, flags: int, logger: ILogger) -> None:
        self.flags, self.logger = flags, logger
        self.graph: Graph | None = None
        self.weights: weakref.ref[OnnxParser] | None = None
        self.inputs: list[ITensor] = []
        self.outputs: list[ITensor] = []
        self.layers: list[ILayer] = []

    @property
    def num_inputs(self) -> int:
        return len(self.inputs)

    @property
    def num_outputs(self) -> int:
        return len(self.outputs)

    @property
    def num_layers(self) -> int:
        return len(self.layers)

    def get_input(self, index: int) -> ITensor:
        return self.inputs[index]

    def get_output(self, index: int) -> ITensor:
        return self.outputs[index]

    def get_layer(self, index: int) -> ILayer:
        return self.layers[index]


class ParserError:
    """Why a node was not taken."""

    def __init__(self, name: str, operator: str, text: str) -> None:
        self._name, self._operator, self._text = name, operator, text

    def desc(self) -> str:
        return self._text

    def node_name(self) -> str:
        return self._name

    def node_operator(self) -> str:
        return self._operator


class OnnxParser:
    """Reads an ONNX file into a network."""

    def __init__(self, network: INetworkDefinition, logger: ILogger) -> None:
        self._network = checked(network, INetworkDefinition, "OnnxParser")
        self._logger = checked(logger, ILogger, "OnnxParser")
        self._errors: list[ParserError] = []

    @property
    def num_errors(self) -> int:
        return len(self._errors)

    def get_error(self, index: int) -> ParserError:
        return self._errors[index]

    def parse(self, model: Any, path: str | None = None) -> bool:
        try:
            graph = Graph(bytes(memoryview(model)))
        except Exception as failure:
            return self._refuse("", "", f"Failed to parse the ONNX model: {failure}")
        for name, operator, text in unsupported(graph):
            self._refuse(name, operator, text)
        for value in [*graph.inputs, *graph.outputs]:
            if value.type.tensor_type.elem_type not in ONNX_TYPES:
                self._refuse(value.name, "", "Failed to convert ONNX date type to TensorRT data type.")
        if self._errors:
            return False
        self._fill(graph)
        self._network.graph = graph
        # The weights stay the parser's.
        self._network.weights = weakref.ref(self)
        return True

    def _refuse(self, name: str, operator: str, text: str) -> bool:
        self._errors.append(ParserError(name, operator, text))
        error(self._logger, f"ModelImporter.cpp: ERROR: {text}")
        return False

    def _fill(self, graph: Graph) -> None:
        outputs = {value.name for value in graph.outputs}
        for value in graph.inputs:
            # "HACK WAR for TRT not allowing input == output", as its author calls it.
            name = f"__{value.name}" if value.name in outputs else value.name
            self._network.inputs.append(_tensor(name, value, graph.decides_shapes(value.name)))
        self._network.outputs += [_tensor(value.name, value, False) for value in graph.outputs]
        types = graph.element_types()
        for node in graph.proto.graph.node:
            given, made = ([_inner(name, types) for name in names] for names in (node.input, node.output))
            self._network.layers.append(ILayer(LAYERS.get(node.op_type, LayerType.ELEMENTWISE), given, made))


def is_strongly_typed(network: INetworkDefinition) -> bool:
    """Return whether the types of a network are those of the model."""
    return bool(network.flags & 1 << NetworkDefinitionCreationFlag.STRONGLY_TYPED)


def _tensor(name: str, value: Any, is_shape_tensor: bool) -> ITensor:
    tensor = value.type.tensor_type
    shape = tuple(one.dim_value if one.HasField("dim_value") else -1 for one in tensor.shape.dim)
    return ITensor(name, shape, ONNX_TYPES[tensor.elem_type], is_shape_tensor)


def _inner(name: str, types: dict[str, int]) -> ITensor | None:
    # Of those inside a network the type is all that is asked here; a tensor that is left out is none.
    return ITensor(name, (), ONNX_TYPES.get(types.get(name, 0), DataType.FLOAT), False) if name else None


def unsupported(graph: Graph) -> list[tuple[str, str, str]]:
    """Return the nodes that cannot be taken: name, operator, why."""
    types = graph.types()
    found = []
    for node in graph.proto.graph.node:
        first = types.get(node.input[0]) if node.input else None
        if node.op_type not in OPERATORS:
            why = f"No importer registered for op: {node.op_type}. Attempting to import as plugin. Plugin not found"
            found.append((node.name, node.op_type, why))
        elif first not in (None, "unknown") and first not in OPERATORS[node.op_type]:
            found.append((node.name, node.op_type, f"{node.op_type} does not take tensors of type {first}"))
    return found
