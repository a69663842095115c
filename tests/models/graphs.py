"""Tiny ONNX graphs, each with the declaration it makes, inputs that fit and the right answer by numpy.

On a machine without the package `onnx` there are no graphs to change, but the files of `MODELS` as `device.graph_files`
wrote them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpi_agent.engines.base import TensorSpec
from hpi_core.formats import DType

HAS_ONNX = find_spec("onnx") is not None
if HAS_ONNX:
    from onnx import helper, numpy_helper

Arrays = dict[str, NDArray[Any]]

IR_VERSION, OPSET = 8, 17
FILES = Path(__file__).parents[1] / "data" / "graphs"
"""The graphs of `MODELS` as files."""


@dataclass(frozen=True)
class TinyModel:
    """One graph."""

    name: str
    proto: Any
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    example: Callable[[np.random.Generator], Arrays]
    """Makes inputs; free dimensions are drawn too."""
    answer: Callable[[Arrays], Arrays]

    def save(self, directory: Path) -> Path:
        """Write the graph as one file and return its path."""
        path = directory / f"{self.name}.onnx"
        path.write_bytes(self.proto.SerializeToString() if HAS_ONNX else (FILES / f"{self.name}.onnx").read_bytes())
        return path


def spec(name: str, dtype: DType, *shape: int | None) -> TensorSpec:
    return TensorSpec(name, dtype, shape)


def value_info(declared: TensorSpec) -> Any:
    if not HAS_ONNX:
        return None
    names = [f"{declared.name}_{axis}" if size is None else size for axis, size in enumerate(declared.shape)]
    return helper.make_tensor_value_info(declared.name, element_type(declared.dtype), names)


def element_type(dtype: str) -> int:
    return 0 if not HAS_ONNX else int(helper.np_dtype_to_tensor_dtype(np.dtype(dtype)))


def proto(
    nodes: Sequence[Any], inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec], weights: Arrays | None = None
) -> Any:
    if not HAS_ONNX:
        return None
    initializers = [numpy_helper.from_array(array, name) for name, array in (weights or {}).items()]
    graph = helper.make_graph(
        list(nodes), "tiny", [value_info(item) for item in inputs], [value_info(item) for item in outputs], initializers
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)


def node(operator: str, inputs: Sequence[str], outputs: Sequence[str], **attributes: Any) -> Any:
    return helper.make_node(operator, list(inputs), list(outputs), **attributes) if HAS_ONNX else None


def tensor(array: NDArray[Any]) -> Any:
    return numpy_helper.from_array(array) if HAS_ONNX else None


def rows(generator: np.random.Generator, columns: int, dtype: str = "float32") -> NDArray[Any]:
    return (generator.random((int(generator.integers(1, 9)), columns)) * 50).astype(dtype)


def add() -> TinyModel:
    x, y = spec("x", "float32", None, 3), spec("y", "float32", None, 3)
    constant = np.array([1, -2, 0.5], dtype=np.float32)
    return TinyModel(
        "add",
        proto([node("Add", ["x", "constant"], ["y"])], [x], [y], {"constant": constant}),
        (x,),
        (y,),
        lambda generator: {"x": rows(generator, 3)},
        lambda feeds: {"y": feeds["x"] + constant},
    )


def convolution(channels: int = 8) -> TinyModel:
    """A 3 x 3 convolution of an image of any size, with ReLU."""
    x, y = spec("x", "float32", None, 3, None, None), spec("y", "float32", None, channels, None, None)
    weight = np.random.default_rng(3).standard_normal((channels, 3, 3, 3)).astype(np.float32)
    nodes = [node("Conv", ["x", "weight"], ["c"], pads=[1, 1, 1, 1]), node("Relu", ["c"], ["y"])]

    def answer(feeds: Arrays) -> Arrays:
        padded: NDArray[np.float64] = np.pad(feeds["x"].astype(np.float64), ((0, 0), (0, 0), (1, 1), (1, 1)))
        height, width = feeds["x"].shape[2:]
        total = sum(
            np.einsum("nchw,oc->nohw", padded[:, :, i : i + height, j : j + width], weight[:, :, i, j])
            for i in range(3)
            for j in range(3)
        )
        return {"y": np.maximum(total, 0).astype(np.float32)}

    return TinyModel(
        "convolution",
        proto(nodes, [x], [y], {"weight": weight}),
        (x,),
        (y,),
        lambda generator: {
            "x": generator.standard_normal((generator.integers(1, 4), 3, *generator.integers(1, 40, 2))).astype(
                np.float32
            )
        },
        answer,
    )


def twice(dtype: DType) -> TinyModel:
    """Add a tensor of one type to itself."""
    x, y = spec("x", dtype, None, 2), spec("y", dtype, None, 2)
    return TinyModel(
        f"twice-{dtype}",
        proto([node("Add", ["x", "x"], ["y"])], [x], [y]),
        (x,),
        (y,),
        lambda generator: {"x": rows(generator, 2, dtype)},
        lambda feeds: {"y": feeds["x"] + feeds["x"]},
    )


def mixed() -> TinyModel:
    """Five inputs and four outputs of different types, in an order that no sorting gives."""
    inputs = (
        spec("pixels", "uint8", None, 2),
        spec("half", "float16", None),
        spec("keep", "bool", None, 2),
        spec("count", "int64", None),
        spec("factor", "float32", 2),
    )
    outputs = (
        spec("scaled", "float32", None, 2),
        spec("dropped", "bool", None, 2),
        spec("next", "int64", None),
        spec("doubled", "float16", None),
    )
    nodes = [
        node("Cast", ["pixels"], ["real"], to=element_type("float32")),
        node("Mul", ["real", "factor"], ["scaled"]),
        node("Not", ["keep"], ["dropped"]),
        node("Add", ["count", "one"], ["next"]),
        node("Add", ["half", "half"], ["doubled"]),
    ]

    def example(generator: np.random.Generator) -> Arrays:
        length = int(generator.integers(1, 9))
        return {
            "pixels": generator.integers(0, 256, (length, 2), dtype=np.uint8),
            "half": generator.random(length).astype(np.float16),
            "keep": generator.random((length, 2)) > 0.5,
            "count": generator.integers(-1000, 1000, length),
            "factor": generator.random(2).astype(np.float32),
        }

    return TinyModel(
        "mixed",
        proto(nodes, inputs, outputs, {"one": np.array([1], dtype=np.int64)}),
        inputs,
        outputs,
        example,
        lambda feeds: {
            "scaled": feeds["pixels"].astype(np.float32) * feeds["factor"],
            "dropped": ~feeds["keep"],
            "next": feeds["count"] + 1,
            "doubled": feeds["half"] + feeds["half"],
        },
    )


def scalars() -> TinyModel:
    """A scalar in and a scalar out."""
    inputs, y = (spec("x", "float32", None, 2), spec("k", "float32")), spec("y", "float32")
    nodes = [node("Mul", ["x", "k"], ["m"]), node("ReduceSum", ["m"], ["y"], keepdims=0)]
    return TinyModel(
        "scalars",
        proto(nodes, inputs, [y]),
        inputs,
        (y,),
        lambda generator: {"x": rows(generator, 2), "k": np.array(generator.random(), dtype=np.float32)},
        lambda feeds: {"y": (feeds["x"] * feeds["k"]).sum(dtype=np.float32)},
    )


def constant() -> TinyModel:
    """No input at all."""
    y, values = spec("y", "float32", 3), np.arange(3, dtype=np.float32)
    return TinyModel(
        "constant",
        proto([node("Constant", [], ["y"], value=tensor(values))], [], [y]),
        (),
        (y,),
        lambda _: {},
        lambda _: {"y": values},
    )


def passthrough() -> TinyModel:
    """An output that is an input, beside one that is computed from it."""
    x, y = spec("x", "float32", None), spec("y", "float32", None)
    return TinyModel(
        "passthrough",
        proto([node("Relu", ["x"], ["y"])], [x], [x, y]),
        (x,),
        (x, y),
        lambda generator: {"x": generator.standard_normal(generator.integers(1, 9)).astype(np.float32)},
        lambda feeds: {"x": feeds["x"], "y": np.maximum(feeds["x"], 0)},
    )


def repeated() -> TinyModel:
    """One tensor under three output names."""
    x = spec("x", "float32", None)
    outputs = (spec("c", "float32", None), spec("a", "float32", None), spec("b", "float32", None))
    nodes = [node("Relu", ["x"], ["a"]), node("Identity", ["a"], ["b"]), node("Identity", ["a"], ["c"])]
    return TinyModel(
        "repeated",
        proto(nodes, [x], outputs),
        (x,),
        outputs,
        lambda generator: {"x": generator.standard_normal(generator.integers(1, 9)).astype(np.float32)},
        lambda feeds: {name: np.maximum(feeds["x"], 0) for name in "abc"},
    )


def unused_input() -> TinyModel:
    """An input that no operator reads."""
    inputs, y = (spec("x", "float32", None), spec("ignored", "int32", None)), spec("y", "float32", None)
    return TinyModel(
        "unused-input",
        proto([node("Neg", ["x"], ["y"])], inputs, [y]),
        inputs,
        (y,),
        lambda generator: {
            "x": generator.random(generator.integers(1, 9)).astype(np.float32),
            "ignored": np.array([1, 2], dtype=np.int32),
        },
        lambda feeds: {"y": -feeds["x"]},
    )


def default_input() -> TinyModel:
    """An input with a default value in the file, which is therefore a weight."""
    x, weight, y = spec("x", "float32", 3), spec("weight", "float32", 3), spec("y", "float32", 3)
    values = np.array([2, 3, 4], dtype=np.float32)
    return TinyModel(
        "default-input",
        proto([node("Mul", ["x", "weight"], ["y"])], [x, weight], [y], {"weight": values}),
        (x,),
        (y,),
        lambda generator: {"x": generator.random(3).astype(np.float32)},
        lambda feeds: {"y": feeds["x"] * values},
    )


def loose() -> TinyModel:
    """An output declared with less than the runtimes can infer."""
    x, y = spec("x", "float32", None, 2), spec("y", "float32", None, None)
    return TinyModel(
        "loose",
        proto([node("Neg", ["x"], ["y"])], [x], [y]),
        (x,),
        (y,),
        lambda generator: {"x": rows(generator, 2)},
        lambda feeds: {"y": -feeds["x"]},
    )


def positions() -> TinyModel:
    """The positions of what is not zero: how many depends on the values, none is possible."""
    x, y = spec("x", "float32", None), spec("y", "int64", 1, None)
    return TinyModel(
        "positions",
        proto([node("NonZero", ["x"], ["y"])], [x], [y]),
        (x,),
        (y,),
        lambda generator: {"x": generator.integers(0, 2, generator.integers(1, 4)).astype(np.float32)},
        lambda feeds: {"y": np.array(np.nonzero(feeds["x"]))},
    )


def pairs() -> TinyModel:
    """A reshape to two rows, which an odd length makes fail while the graph runs."""
    x, y = spec("x", "float32", None), spec("y", "float32", 2, None)
    return TinyModel(
        "pairs",
        proto([node("Reshape", ["x", "shape"], ["y"])], [x], [y], {"shape": np.array([2, -1])}),
        (x,),
        (y,),
        lambda generator: {"x": generator.random(2 * generator.integers(1, 9)).astype(np.float32)},
        lambda feeds: {"y": feeds["x"].reshape(2, -1)},
    )


def weights_of_a_megabyte() -> TinyModel:
    """A convolution with 1.2 MB of weights, which a leak per load would show."""
    x, y = spec("x", "float32", None, 256, None, None), spec("y", "float32", None, 128, None, None)
    weight = np.random.default_rng(3).standard_normal((128, 256, 3, 3)).astype(np.float32)
    return TinyModel(
        "megabyte",
        proto([node("Conv", ["x", "weight"], ["y"], pads=[1, 1, 1, 1])], [x], [y], {"weight": weight}),
        (x,),
        (y,),
        lambda _: {"x": np.ones((1, 256, 4, 4), dtype=np.float32)},
        lambda _: {},
    )


def beyond_32_bits() -> TinyModel:
    """Integers that need more than 32 bits, in which OpenVINO computes them: its answers are wrong."""
    x, y = spec("x", "int64", None), spec("y", "int64", None)
    offset = np.array([2**40], dtype=np.int64)
    return TinyModel(
        "beyond-32-bits",
        proto([node("Add", ["x", "offset"], ["y"])], [x], [y], {"offset": offset}),
        (x,),
        (y,),
        lambda generator: {"x": generator.integers(0, 10, generator.integers(1, 9))},
        lambda feeds: {"y": feeds["x"] + offset},
    )


def branch_of_two_gigabytes() -> TinyModel:
    """A branch that is never taken and would fill two gigabytes: OpenVINO computes it while it compiles the graph.

    ONNX Runtime folds no constants above one gigabyte.
    """
    x, y = spec("x", "float32", None, 3), spec("y", "float32", None, 3)
    scalar = helper.make_tensor_value_info
    float32 = element_type("float32")
    taken = helper.make_graph([node("Identity", ["x"], ["same"])], "taken", [], [scalar("same", float32, None)])
    one = numpy_helper.from_array(np.ones(1, dtype=np.float32))
    never = helper.make_graph(
        [
            node("ConstantOfShape", ["count"], ["ones"], value=one),
            node("Mul", ["ones", "two"], ["twos"]),
            node("ReduceMax", ["twos"], ["most"], keepdims=0),
            node("Add", ["x", "most"], ["more"]),
        ],
        "never",
        [],
        [scalar("more", float32, None)],
        [
            numpy_helper.from_array(np.array([2**31 // 4]), "count"),
            numpy_helper.from_array(np.array([2], dtype=np.float32), "two"),
        ],
    )
    nodes = [
        node("ReduceMax", ["x"], ["largest"], keepdims=0),
        node("Greater", ["largest", "least"], ["always"]),
        helper.make_node("If", ["always"], ["y"], then_branch=taken, else_branch=never),
    ]
    return TinyModel(
        "branch-of-two-gigabytes",
        proto(nodes, [x], [y], {"least": np.array(-1e9, dtype=np.float32)}),
        (x,),
        (y,),
        lambda generator: {"x": rows(generator, 3)},
        lambda feeds: {"y": feeds["x"]},
    )


def matrices(side: int = 512) -> TinyModel:
    """Products of matrices, which differ visibly between float32 and bfloat16."""
    x, y = spec("x", "float32", None, side), spec("y", "float32", None, side)
    weight = np.random.default_rng(3).standard_normal((side, side)).astype(np.float32)
    return TinyModel(
        "matrices",
        proto([node("MatMul", ["x", "weight"], ["y"])], [x], [y], {"weight": weight}),
        (x,),
        (y,),
        lambda generator: {"x": rows(generator, side)},
        lambda feeds: {"y": feeds["x"] @ weight},
    )


TYPES_OF_BOTH: tuple[DType, ...] = (
    "uint8",
    "int8",
    "uint16",
    "int16",
    "int32",
    "int64",
    "uint32",
    "uint64",
    "float16",
    "float32",
)

MODELS: tuple[TinyModel, ...] = (
    add(),
    convolution(),
    mixed(),
    scalars(),
    constant(),
    passthrough(),
    repeated(),
    unused_input(),
    default_input(),
    loose(),
    positions(),
    pairs(),
    *(twice(dtype) for dtype in TYPES_OF_BOTH),
)
"""Every graph that both backends take."""
