"""What TensorRT promises beyond the conformance suite, on its double or on the device."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from hpi_agent.engines.base import EngineRequest, ShapeProfile
from hpi_agent.engines.registry import build_engine, load_engine, runtime_version
from hpi_agent.engines.sealed_bytes import seal, unseal
from hpi_agent.engines.tensorrt_builder import KIND
from hpi_core.errors import EngineFailed, Refused
from hpi_core.formats import Precision
from models import graphs
from models.graphs import TinyModel, node, proto, spec
from support.arrays import relative_difference
from support.engines import WAYS, with_built_form
from support.ways import Way

[TENSORRT] = [way for way in WAYS if way.name == "tensorrt"]


@pytest.fixture(autouse=True)
def tensorrt() -> Iterator[Way]:
    with TENSORRT.presented():
        yield TENSORRT


def even_pairs(directory: Path) -> EngineRequest:
    shapes = ShapeProfile("x", (2,), (8,), (64,))
    return replace(TENSORRT.request(graphs.pairs(), directory), profiles=(shapes,))


# Shapes.


def test_a_model_with_free_dimensions_and_no_shapes_is_refused_by_the_name_of_its_input(tmp_path: Path) -> None:
    request = replace(TENSORRT.request(graphs.convolution(), tmp_path), profiles=())

    with pytest.raises(Refused, match=r"input 'x' has the shape \(\?, 3, \?, \?\), and tensorrt compiles for shapes"):
        load_engine(request)


@pytest.mark.parametrize("shape", [(65, 3), (64, 3)], ids=["beyond", "at the end"])
def test_a_shape_beyond_those_compiled_for_is_refused_and_the_largest_is_not(
    shape: tuple[int, int], tmp_path: Path
) -> None:
    model = graphs.add()

    with load_engine(TENSORRT.request(model, tmp_path)) as engine:
        feeds = {"x": np.ones(shape, dtype=np.float32)}
        if shape[0] > 64:
            with pytest.raises(Refused, match=r"'x' must have a shape from \(1, 3\) to \(64, 3\), .* got \(65, 3\)"):
                engine.infer(feeds)
        else:
            assert np.array_equal(engine.infer(feeds)["y"], model.answer(feeds)["y"])


def test_a_failure_inside_the_graph_is_told_and_leaves_the_engine_fit(tmp_path: Path) -> None:
    even = np.arange(4, dtype=np.float32)

    with load_engine(even_pairs(tmp_path)) as engine:
        for _ in range(3):
            with pytest.raises(EngineFailed, match=r"tensorrt failed inside .*pairs\.onnx: .*[Rr]eshape"):
                engine.infer({"x": even[:3]})
        answer = engine.infer({"x": even})["y"]

    assert np.array_equal(answer, [[0, 1], [2, 3]])


def shape_of() -> TinyModel:
    """The shape of a tensor, which TensorRT computes on the host."""
    x, y = spec("x", "float32", None, 3), spec("y", "int64", 2)
    return TinyModel(
        "shape",
        proto([node("Shape", ["x"], ["y"])], [x], [y]),
        (x,),
        (y,),
        lambda generator: {"x": graphs.rows(generator, 3)},
        lambda feeds: {"y": np.array(feeds["x"].shape)},
    )


def test_the_shape_of_a_tensor_can_be_an_output(tmp_path: Path) -> None:
    with load_engine(TENSORRT.request(shape_of(), tmp_path)) as engine:
        # Read before anything else could wait for the device.
        answers = [engine.infer({"x": np.ones((rows, 3), dtype=np.float32)})["y"].tolist() for rows in (1, 7)]

    assert answers == [[1, 3], [7, 3]]


def test_the_shape_of_a_tensor_is_not_changed_by_the_next_call(tmp_path: Path) -> None:
    with load_engine(TENSORRT.request(shape_of(), tmp_path)) as engine:
        first = engine.infer({"x": np.ones((1, 3), dtype=np.float32)})["y"]
        engine.infer({"x": np.ones((7, 3), dtype=np.float32)})

    assert first.tolist() == [1, 3]


def test_an_input_whose_values_decide_a_shape_is_refused_by_its_name(tmp_path: Path) -> None:
    x, shape, y = spec("x", "float32", 4), spec("shape", "int64", 2), spec("y", "float32", None, None)
    nodes = [node("Reshape", ["x", "shape"], ["y"])]
    model = TinyModel("reshape", proto(nodes, [x, shape], [y]), (x, shape), (y,), lambda _: {}, lambda _: {})

    with pytest.raises(Refused, match=r"reshape\.onnx: the values of input 'shape' decide the shapes of others"):
        load_engine(TENSORRT.request(model, tmp_path))


# Precision.


def quantised() -> TinyModel:
    """A product that is computed in int8."""
    x, y = spec("x", "float32", None, 8), spec("y", "float32", None, 8)
    weight = np.random.default_rng(3).integers(-90, 90, (8, 8)).astype(np.int8)
    nodes = [
        node("QuantizeLinear", ["x", "scale", "zero"], ["xq"]),
        node("DequantizeLinear", ["xq", "scale", "zero"], ["xd"]),
        node("DequantizeLinear", ["weight", "scale", "zero"], ["wd"]),
        node("MatMul", ["xd", "wd"], ["y"]),
    ]
    scale, zero = np.array(0.5, dtype=np.float32), np.array(0, dtype=np.int8)

    def answer(feeds: dict[str, Any]) -> dict[str, Any]:
        rounded = np.clip(np.rint(feeds["x"] / scale), -128, 127) * scale
        return {"y": (rounded @ (weight * scale)).astype(np.float32)}

    return TinyModel(
        "quantised",
        proto(nodes, [x], [y], {"weight": weight, "scale": scale, "zero": zero}),
        (x,),
        (y,),
        lambda generator: {"x": graphs.rows(generator, 8)},
        answer,
    )


def test_a_quantised_model_is_computed_in_int8(tmp_path: Path) -> None:
    model = quantised()
    feeds = model.example(np.random.default_rng(5))

    with load_engine(replace(TENSORRT.request(model, tmp_path), precision="int8")) as engine:
        got, precision = engine.infer(feeds)["y"], engine.obtained.precision

    assert precision == "int8"
    assert relative_difference(got, model.answer(feeds)["y"]) <= 1e-5


def test_int8_of_a_model_that_nobody_quantised_is_refused(tmp_path: Path) -> None:
    request = replace(TENSORRT.request(graphs.convolution(), tmp_path), precision="int8")

    with pytest.raises(Refused, match=r"has no QuantizeLinear and DequantizeLinear nodes; .* nothing is calibrated"):
        load_engine(request)


@pytest.mark.parametrize("precision", ["int8", "float32", "float16"])
def test_a_model_that_is_quantised_to_another_type_is_refused_by_its_name(precision: Precision, tmp_path: Path) -> None:
    x, y = spec("x", "float32", None, 8), spec("y", "float32", None, 8)
    model = proto(
        [
            node("QuantizeLinear", ["x", "scale", "zero"], ["xq"]),
            node("DequantizeLinear", ["xq", "scale", "zero"], ["y"]),
        ],
        [x],
        [y],
        {"scale": np.array(0.5, dtype=np.float32)},
    )
    model.graph.initializer.append(helper.make_tensor("zero", TensorProto.FLOAT8E4M3FN, [], [0.0]))
    model.opset_import[0].version = 19
    narrow = replace(quantised(), name="narrow", proto=model)

    with pytest.raises(Refused, match=r"narrow\.onnx is quantised to FP8; only int8 is computed here"):
        load_engine(replace(TENSORRT.request(narrow, tmp_path), precision=precision))


@pytest.mark.parametrize("precision", ["float32", "tf32", "float16", "bfloat16"])
def test_a_quantised_model_is_refused_in_another_precision_than_int8(precision: Precision, tmp_path: Path) -> None:
    request = replace(TENSORRT.request(quantised(), tmp_path), precision=precision)

    with pytest.raises(Refused, match=f"it computes in int8, {precision} was asked for"):
        load_engine(request)


DIFFERENCES: dict[Precision, tuple[float, float]] = {
    # Least and most, relative to the largest value: a narrower mantissa is used, and none narrower than asked for.
    "float32": (0, 1e-5),
    "tf32": (1e-5, 2e-3),
    "float16": (1e-5, 5e-3),
    "bfloat16": (1e-4, 5e-2),
}


@pytest.mark.parametrize("form", ["file", "built"])
@pytest.mark.parametrize("precision", list(DIFFERENCES))
def test_the_precision_asked_for_is_the_one_computed_in(precision: Precision, form: str, tmp_path: Path) -> None:
    model = graphs.matrices(64)
    request = replace(TENSORRT.request(model, tmp_path), precision=precision)
    feeds = {"x": np.random.default_rng(5).standard_normal((8, 64)).astype(np.float32)}
    [weight] = [numpy_helper.to_array(one) for one in model.proto.graph.initializer]
    want = feeds["x"].astype(np.float64) @ weight.astype(np.float64)

    with load_engine(with_built_form(request) if form == "built" else request) as engine:
        got, obtained = engine.infer(feeds)["y"], engine.obtained.precision

    least, most = DIFFERENCES[precision]
    difference = relative_difference(got, want)
    print(f"largest difference {difference:.1e}")
    assert obtained == precision
    assert least <= difference <= most


# Options.


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("optimization_level", 6, "optimization_level must be from 0 to 5, got 6"),
        ("optimization_level", -1, "optimization_level must be from 0 to 5, got -1"),
        ("optimization_level", "5", "optimization_level must be from 0 to 5, got '5'"),
        ("workspace_mebibytes", 0, "workspace_mebibytes must be from 1 to 1048576, or 'all', got 0"),
        ("workspace_mebibytes", "much", "workspace_mebibytes must be from 1 to 1048576, or 'all', got 'much'"),
        ("workspace", 1, "option 'workspace' is not known to the backend tensorrt; did you mean 'workspace_mebibytes'"),
    ],
)
@pytest.mark.parametrize("form", ["file", "built"])
def test_an_option_that_is_unknown_or_out_of_bounds_is_refused(
    name: str, value: Any, text: str, form: str, tmp_path: Path
) -> None:
    request = TENSORRT.request(graphs.add(), tmp_path)
    request = with_built_form(request) if form == "built" else request

    with pytest.raises(Refused, match=text):
        load_engine(replace(request, options=((name, value),)))


@pytest.mark.parametrize("options", [(("optimization_level", 0),), (("workspace_mebibytes", 64),)])
def test_an_option_within_bounds_is_granted(options: tuple[tuple[str, int]], tmp_path: Path) -> None:
    model = graphs.convolution()
    feeds = model.example(np.random.default_rng(5))

    with load_engine(replace(TENSORRT.request(model, tmp_path), options=options)) as engine:
        got = engine.infer(feeds)["y"]

    assert relative_difference(got, model.answer(feeds)["y"]) <= 1e-6


# The built form.


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(lambda _: b"", id="empty"),
        pytest.param(lambda built: built[:10], id="10 bytes"),
        pytest.param(lambda built: built[:40], id="40 bytes"),
        pytest.param(lambda built: built[: len(built) // 2], id="half"),
        pytest.param(lambda built: built[:-1], id="all but a byte"),
        pytest.param(lambda built: built + b"\0", id="a byte more"),
        pytest.param(lambda built: built[:-2] + bytes([built[-2] ^ 1]) + built[-1:], id="a bit"),
        pytest.param(lambda built: bytes(len(built)), id="zeros"),
        pytest.param(lambda built: bytes(unseal(KIND, built)[1]), id="a plan without its seal"),
        pytest.param(lambda built: seal("tensorrt timing cache", *unseal(KIND, built)), id="a timing cache"),
    ],
)
def test_bytes_that_are_no_whole_plan_never_reach_tensorrt(damage: Any, tmp_path: Path) -> None:
    request = with_built_form(TENSORRT.request(graphs.add(), tmp_path))

    with pytest.raises(EngineFailed, match=r"the built form of .*add\.onnx is no whole plan: .*; build it again"):
        load_engine(replace(request, built=damage(request.built)))


@pytest.mark.parametrize(
    ("name", "other", "text"),
    [
        ("tensorrt", "10.0.1", r"built for tensorrt 10\.0\.1, wanted is tensorrt 10\."),
        ("device", "NVIDIA L4", r"built for device NVIDIA L4, wanted is device "),
        ("computeCapability", "6.1", r"built for computeCapability 6\.1, wanted is computeCapability "),
        ("precision", "tf32", r"built for precision tf32, wanted is precision float32"),
        ("profiles", {}, r"built for profiles \{\}, wanted is profiles \{'x': "),
    ],
)
def test_a_plan_of_another_kind_never_reaches_tensorrt(name: str, other: Any, text: str, tmp_path: Path) -> None:
    request = with_built_form(TENSORRT.request(graphs.add(), tmp_path))
    facts, plan = unseal(KIND, request.built or b"")
    built = seal(KIND, {**facts, name: other}, bytes(plan))

    with pytest.raises(EngineFailed, match=rf"{text}.*; build it again"):
        load_engine(replace(request, built=built))


def test_a_plan_of_another_model_fails_with_both_declarations(tmp_path: Path) -> None:
    request = TENSORRT.request(graphs.loose(), tmp_path)
    facts, _ = unseal(KIND, build_engine(request) or b"")
    _, other = unseal(KIND, build_engine(TENSORRT.request(graphs.mixed(), tmp_path)) or b"")

    with pytest.raises(
        EngineFailed, match=r"loose\.onnx declares x float32 .*, tensorrt loaded from the built form pixels"
    ):
        load_engine(replace(request, built=seal(KIND, facts, bytes(other))))


def test_the_answers_come_from_the_plan_and_not_from_the_file(tmp_path: Path) -> None:
    model = graphs.add()
    request = with_built_form(TENSORRT.request(model, tmp_path))
    other = graphs.add()
    [weight] = other.proto.graph.initializer
    weight.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(weight) + 1, weight.name))
    request.model_path.write_bytes(other.proto.SerializeToString())
    feeds = model.example(np.random.default_rng(5))

    with load_engine(request) as engine:
        got, from_store = engine.infer(feeds)["y"], engine.obtained.from_store

    assert np.array_equal(got, model.answer(feeds)["y"])
    assert from_store


def test_the_version_of_the_package_is_that_of_the_runtime_as_loaded(tmp_path: Path) -> None:
    with load_engine(TENSORRT.request(graphs.add(), tmp_path)) as engine:
        loaded = engine.obtained.version

    assert loaded == runtime_version("tensorrt")
