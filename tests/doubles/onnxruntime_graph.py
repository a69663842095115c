"""A model file as one of ONNX Runtime's providers for GPUs sees it: which nodes it takes, what it rounds, its engine.

Source:
    `docs/OperatorKernels.md` (1.30); `onnxruntime/core/framework/fallback_cpu_capability.cc` for nodes of shapes;
    `onnxruntime/core/providers/tensorrt/onnx_ctx_model_helper.cc`, `CreateCtxModel`, for the engine in a file;
    `tensorrt_execution_provider.cc` for when it is built, and `GetTimingCachePath` for the name of its measurements.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper

from hpi_agent.engines.onnxruntime import import_onnxruntime

_errors = import_onnxruntime().capi.onnxruntime_pybind11_state
EPFail, Fail = _errors.EPFail, _errors.Fail
CPU, CUDA, TENSORRT = "CPUExecutionProvider", "CUDAExecutionProvider", "TensorrtExecutionProvider"

WITHOUT_CUDA_KERNEL: Final = frozenset({"Acos", "Asin", "Atan", "Det", "Hardmax", "Mean", "Sinh", "Tan", "Unique"})
"""Operators that the CPU provider has and the CUDA provider has not (`docs/OperatorKernels.md` of 1.30)."""
IN_TENSORRT: Final = frozenset({"float32", "float16", "int32", "int64", "bool"})
"""Types that the played TensorRT takes."""
ENGINE: Final = b"engine of the double for sm90, "


@dataclass(frozen=True)
class OrtEpAssignedNode:
    """One node."""

    domain: str
    name: str
    op_type: str


@dataclass(frozen=True)
class OrtEpAssignedSubgraph:
    """Nodes that one provider has together."""

    ep_name: str
    _nodes: tuple[OrtEpAssignedNode, ...]

    def get_nodes(self) -> list[OrtEpAssignedNode]:
        return list(self._nodes)


@dataclass
class Graph:
    """A model file, as the first provider of a session sees it."""

    content: bytes
    provider: str
    settings: Mapping[str, str]
    engine: str | None = None
    """What the engine in the file was compiled in; None: the file has the graph itself."""
    proto: Any = field(init=False)

    def __post_init__(self) -> None:
        self.proto = _parsed(self.content)
        nodes = self.proto.graph.node
        if len(nodes) == 1 and nodes[0].op_type == "EPContext":
            if self.provider != TENSORRT:
                raise Fail("[ONNXRuntimeError] : 1 : FAIL : no kernel for EPContext")
            written = {one.name: helper.get_attribute_value(one) for one in nodes[0].attribute}
            assert written["embed_mode"] == 1
            head, _, content = written["ep_cache_context"].partition(b"\n")
            if not head.startswith(ENGINE):
                raise EPFail("TensorRT EP could not deserialize engine from binary data")
            self.engine = head.removeprefix(ENGINE).decode()
            self.content, self.proto = content, _parsed(content)

    def place(self) -> list[OrtEpAssignedSubgraph]:
        """Return which provider has which nodes."""
        if self.engine is not None:
            return [OrtEpAssignedSubgraph(TENSORRT, (OrtEpAssignedNode("com.microsoft", "context", "EPContext"),))]
        taken = [(node, self._provider_of(node)) for node in self.proto.graph.node if node.op_type != "Constant"]
        own = tuple(_assigned(node) for node, provider in taken if provider == self.provider)
        rest = [OrtEpAssignedSubgraph(CPU, (_assigned(node),)) for node, provider in taken if provider != self.provider]
        if self.provider == TENSORRT:
            return ([OrtEpAssignedSubgraph(TENSORRT, own)] if own else []) + rest
        return [OrtEpAssignedSubgraph(self.provider, (node,)) for node in own] + rest

    def _provider_of(self, node: Any) -> str:
        if self.provider == CUDA:
            of_shapes = any(name in self._shapes() for name in node.input) or node.op_type in ("Shape", "Size")
            return CPU if node.op_type in WITHOUT_CUDA_KERNEL or of_shapes else CUDA
        if self.provider == TENSORRT:
            types = self._types()
            fits = all(types.get(name, "float32") in IN_TENSORRT for name in (*node.input, *node.output))
            return TENSORRT if fits and node.op_type not in WITHOUT_CUDA_KERNEL else CPU
        return CPU

    def _shapes(self) -> set[str]:
        """Return the tensors that are computed from shapes and constants alone."""
        known = {one.name for one in self.proto.graph.initializer}
        shapes: set[str] = set()
        for node in self.proto.graph.node:
            if node.op_type in ("Shape", "Size") or (
                any(name in shapes for name in node.input) and all(name in shapes | known for name in node.input)
            ):
                shapes |= set(node.output)
        # A node that reads other tensors too stays on the GPU.
        return {name for name in shapes if self._read_with_shapes_alone(name, shapes | known)}

    def _read_with_shapes_alone(self, name: str, known: set[str]) -> bool:
        return all(set(node.input) <= known for node in self.proto.graph.node if name in node.input)

    def _types(self) -> dict[str, str]:
        graph = onnx.shape_inference.infer_shapes(self.proto).graph
        values = [*graph.input, *graph.output, *graph.value_info]
        types = {one.name: helper.tensor_dtype_to_np_dtype(one.type.tensor_type.elem_type).name for one in values}
        return types | {
            one.name: helper.tensor_dtype_to_np_dtype(one.data_type).name for one in self.proto.graph.initializer
        }

    def compile(self) -> None:
        """Write the engine and the measurements that the settings ask for, where every free shape has a range."""
        free = {
            one.name
            for one in self.proto.graph.input
            if any(not size.dim_value for size in one.type.tensor_type.shape.dim)
        }
        free -= {one.name for one in self.proto.graph.initializer}
        if not free <= set(self._ranges()):
            # It is built by the first run, in a request.
            return
        if self.settings["trt_timing_cache_enable"] == "1":
            folder = Path(self.settings["trt_timing_cache_path"])
            folder.mkdir(exist_ok=True)
            file = folder / "TensorrtExecutionProvider_cache_sm90.timing"
            file.write_bytes((file.read_bytes() if file.is_file() else b"") + b"measured;")
        if self.settings["trt_dump_ep_context_model"] == "1":
            assert self.settings["trt_ep_context_embed_mode"] == "1"
            Path(self.settings["trt_ep_context_file_path"]).write_bytes(self._context_model())

    def _context_model(self) -> bytes:
        graph = self.proto.graph
        weights = {one.name for one in graph.initializer}
        inputs = [one for one in graph.input if one.name not in weights]
        # Of an output that is an input no node is compiled.
        outputs = [one for one in graph.output if one.name not in {given.name for given in inputs}]
        node = helper.make_node(
            "EPContext",
            [one.name for one in inputs],
            [one.name for one in outputs],
            domain="com.microsoft",
            embed_mode=1,
            ep_cache_context=ENGINE + self._precision().encode() + b"\n" + self.content,
            hardware_architecture="90",
            onnx_model_filename="model.onnx",
            source=TENSORRT,
        )
        made = helper.make_model(helper.make_graph([node], graph.name, inputs, outputs))
        return bytes(made.SerializeToString())

    def _precision(self) -> str:
        if self.engine is not None:
            return self.engine
        if self.provider == TENSORRT:
            return "float16" if self.settings["trt_fp16_enable"] == "1" else "tf32"
        return "tf32" if self.provider == CUDA and self.settings["use_tf32"] == "1" else "float32"

    def _ranges(self) -> dict[str, tuple[tuple[int, ...], ...]]:
        words = [self.settings.get(f"trt_profile_{which}_shapes", "") for which in ("min", "opt", "max")]
        read = [dict(one.rpartition(":")[::2] for one in word.split(",") if one) for word in words]
        return {name: tuple(tuple(map(int, one[name].split("x"))) for one in read) for name in read[0]}

    def check_shapes(self, feeds: Mapping[str, NDArray[Any]]) -> None:
        for name, (smallest, _, largest) in self._ranges().items():
            if not all(
                low <= size <= high for low, size, high in zip(smallest, feeds[name].shape, largest, strict=True)
            ):
                raise EPFail(f"TensorRT EP failed to set input shape for {name}")

    def round_input(self, array: NDArray[Any]) -> NDArray[Any]:
        """Drop the bits that TF32 does not multiply."""
        multiplies = any(node.op_type in ("Conv", "MatMul", "Gemm") for node in self.proto.graph.node)
        if self._precision() != "tf32" or array.dtype != np.float32 or not multiplies:
            return array
        return np.asarray(array.view(np.uint32) & np.uint32(0xFFFFE000)).view(np.float32)

    def round_output(self, array: NDArray[Any]) -> NDArray[Any]:
        if self._precision() != "float16" or array.dtype != np.float32:
            return array
        return array.astype(np.float16).astype(np.float32)


def _parsed(content: bytes) -> Any:
    try:
        return onnx.load_from_string(content)
    except Exception as error:
        raise Fail(f"[ONNXRuntimeError] : 7 : INVALID_PROTOBUF : {error}") from error


def _assigned(node: Any) -> OrtEpAssignedNode:
    return OrtEpAssignedNode(node.domain, node.name, node.op_type)
