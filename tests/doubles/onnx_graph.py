"""An ONNX graph as the doubles of devices compute it: which shapes follow, and the answer.

The answer comes from ONNX Runtime on the processors. A precision narrower than float32 is computed by rounding what
the device would round; so an engine that forgets to clear TF32, which is on unless it is cleared, answers visibly
otherwise.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, Final

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper, shape_inference

from hpi_agent.engines.onnxruntime import import_onnxruntime

Shapes = tuple[tuple[str, tuple[int, ...]], ...]

SHAPE_INPUTS: Final = {
    "Reshape": (1,),
    "Expand": (1,),
    "ConstantOfShape": (0,),
    "Slice": (1, 2, 3, 4),
    "Resize": (2, 3),
}
"""Inputs whose values decide a shape."""
DECIDED_BY_VALUES: Final = frozenset({"NonZero", "NonMaxSuppression", "Unique", "Compress"})
MULTIPLYING: Final = frozenset({"Conv", "ConvTranspose", "MatMul", "Gemm"})
LARGE: Final = 64
"""More values than these of a weight decide no shape."""


class ShapeFailure(Exception):
    """The graph cannot take these shapes."""


class Graph:
    """One model."""

    def __init__(self, content: bytes) -> None:
        self.content = content
        self.proto = onnx.load_from_string(content)
        weights = {one.name for one in self.proto.graph.initializer}
        self.inputs = [value for value in self.proto.graph.input if value.name not in weights]
        self.outputs = list(self.proto.graph.output)
        self._skeleton = self._without_weights()
        self._sessions: dict[frozenset[str], Any] = {}
        self.infer: Callable[[Shapes], tuple[tuple[int, ...], ...]] = lru_cache(maxsize=256)(self._infer)

    @property
    def is_quantised(self) -> bool:
        """Whether it has nodes that quantise."""
        return any(node.op_type in ("QuantizeLinear", "DequantizeLinear") for node in self.proto.graph.node)

    @property
    def is_partly_half(self) -> bool:
        """Whether a tensor of it is of float16."""
        half = onnx.TensorProto.FLOAT16
        values = [*self.inputs, *self.outputs]
        return any(value.type.tensor_type.elem_type == half for value in values) or any(
            weight.data_type == half for weight in self.proto.graph.initializer
        )

    def decides_shapes(self, name: str) -> bool:
        """Return whether the values of an input decide the shape of something."""
        return any(
            name in [node.input[index] for index in SHAPE_INPUTS.get(node.op_type, ()) if index < len(node.input)]
            for node in self.proto.graph.node
        )

    def is_shape(self, name: str) -> bool:
        """Return whether an output is the shape of something, which is known on the host."""
        return any(node.op_type == "Shape" and name in node.output for node in self.proto.graph.node)

    def _infer(self, shapes: Shapes) -> tuple[tuple[int, ...], ...]:
        """Return the shapes of all outputs, -1 for sizes that only the values decide.

        Raises:
            ShapeFailure: An operator inside cannot take what reaches it.
        """
        skeleton = onnx.ModelProto()
        skeleton.CopyFrom(self._skeleton)
        given = dict(shapes)
        for value in skeleton.graph.input:
            if value.name in given:
                value.CopyFrom(
                    helper.make_tensor_value_info(value.name, value.type.tensor_type.elem_type, given[value.name])
                )
        try:
            inferred = shape_inference.infer_shapes(skeleton, check_type=True, strict_mode=True, data_prop=True)
        except shape_inference.InferenceError as error:
            raise ShapeFailure(str(error)) from error
        known = {value.name: _dimensions(value) for value in inferred.graph.output}
        if any(None in (shape or (None,)) for name, shape in known.items() if name not in self._open):
            known |= {
                name: array.shape
                for name, array in self.compute(self.zeros(given), frozenset()).items()
                if name not in self._open
            }
        return tuple(tuple(-1 if size is None else size for size in known[value.name] or ()) for value in self.outputs)

    def compute(self, feeds: Mapping[str, NDArray[Any]], flags: frozenset[str]) -> dict[str, NDArray[Any]]:
        """Return the outputs by name, rounded as the flags of the builder allow."""
        if flags not in self._sessions:
            onnxruntime = import_onnxruntime()
            options = onnxruntime.SessionOptions()
            options.intra_op_num_threads = 1
            options.log_severity_level = 4
            self._sessions[flags] = onnxruntime.InferenceSession(
                _rounded_weights(self.proto, flags), options, providers=["CPUExecutionProvider"]
            )
        session = self._sessions[flags]
        taken = {one.name for one in session.get_inputs()}
        fed = {name: round_to(array, flags) for name, array in feeds.items() if name in taken}
        names = [value.name for value in self.outputs]
        return {name: round_to(array, flags) for name, array in zip(names, session.run(names, fed), strict=True)}

    def zeros(self, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, NDArray[Any]]:
        """Return inputs of some shapes."""
        return {
            value.name: np.zeros(shapes[value.name], helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type))
            for value in self.inputs
        }

    def _without_weights(self) -> Any:
        skeleton = onnx.ModelProto()
        skeleton.CopyFrom(self.proto)
        kept = []
        for weight in skeleton.graph.initializer:
            if math.prod(weight.dims) <= LARGE:
                kept.append(weight)
            elif weight.name not in {value.name for value in skeleton.graph.input}:
                skeleton.graph.input.append(
                    helper.make_tensor_value_info(weight.name, weight.data_type, list(weight.dims))
                )
        kept = [numpy_helper.from_array(numpy_helper.to_array(weight), weight.name) for weight in kept]
        del skeleton.graph.initializer[:]
        skeleton.graph.initializer.extend(kept)
        # Some declarations of converted models are wrong; what is inferred counts.
        for value in skeleton.graph.output:
            value.type.tensor_type.ClearField("shape")
        del skeleton.graph.value_info[:]
        reached: set[str] = set()
        for node in self.proto.graph.node:
            if node.op_type in DECIDED_BY_VALUES or reached.intersection(node.input):
                reached.update(node.output)
        self._open = frozenset(reached)
        return skeleton

    def types(self) -> dict[str, str]:
        """Return the types of all tensors, by numpy's names."""
        return {name: _type_name(number) for name, number in self.element_types().items()}

    def element_types(self) -> dict[str, int]:
        """Return the types of all tensors, by their numbers in ONNX; 0 where nothing says one."""
        inferred = shape_inference.infer_shapes(self._skeleton)
        values = [*inferred.graph.input, *inferred.graph.output, *inferred.graph.value_info]
        types = {value.name: value.type.tensor_type.elem_type for value in values}
        return types | {weight.name: weight.data_type for weight in self.proto.graph.initializer}


def round_to(array: NDArray[Any], flags: frozenset[str]) -> NDArray[Any]:
    """Return an array with the mantissa that the flags allow."""
    if array.dtype != np.float32:
        return array
    if "FP16" in flags:
        with np.errstate(over="ignore"):
            return array.astype(np.float16).astype(np.float32)
    return _cut(array, 7) if "BF16" in flags else array


def _cut(array: NDArray[Any], bits: int) -> NDArray[Any]:
    """Return float32 with a shorter mantissa, rounded to nearest."""
    dropped = 23 - bits
    half = np.uint32(1 << (dropped - 1))
    whole = np.ascontiguousarray(array).view(np.uint32) + half
    cut: NDArray[Any] = (whole & ~np.uint32((1 << dropped) - 1)).view(np.float32)
    return cut


def _rounded_weights(proto: Any, flags: frozenset[str]) -> bytes:
    multiplied = {name for node in proto.graph.node if node.op_type in MULTIPLYING for name in node.input}
    model = onnx.ModelProto()
    model.CopyFrom(proto)
    for weight in model.graph.initializer:
        array = numpy_helper.to_array(weight)
        if array.dtype == np.float32:
            rounded = round_to(array, flags)
            if "TF32" in flags and weight.name in multiplied:
                rounded = _cut(rounded, 10)
            weight.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(rounded), weight.name))
    return bytes(model.SerializeToString())


def _dimensions(value: Any) -> tuple[int | None, ...] | None:
    tensor = value.type.tensor_type
    if not tensor.HasField("shape"):
        return None
    return tuple(one.dim_value if one.HasField("dim_value") else None for one in tensor.shape.dim)


def _type_name(element_type: int) -> str:
    return str(helper.tensor_dtype_to_np_dtype(element_type).name) if element_type else "unknown"
