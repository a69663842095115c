"""What is asked of a backend beyond the model: precision and settings; granted as asked, or refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hpi_agent.engines.base import EngineRequest
from hpi_agent.engines.openvino import check_settings, import_openvino
from hpi_agent.engines.registry import load_engine
from hpi_core.errors import EngineFailed, Refused
from hpi_core.formats import Backend
from models import graphs
from models.real import DETECTOR, page_for_detector, real_model
from support.arrays import relative_difference
from support.engines import with_built_form
from support.processors import needs_bfloat16

FLOAT32_GATE = 1e-4
"""Every float32 run measured is below, every bfloat16 run above."""

# Precision.


@needs_bfloat16
@pytest.mark.parametrize("form", ["file", "built"])
def test_bfloat16_is_computed_where_it_is_asked_for(form: str) -> None:
    request = EngineRequest(real_model(DETECTOR), "openvino", 1, "bfloat16")
    feeds = {"x": page_for_detector()[..., :320]}
    with load_engine(EngineRequest(real_model(DETECTOR), "onnxruntime", 1)) as reference:
        [want] = reference.infer(feeds).values()

    with load_engine(with_built_form(request) if form == "built" else request) as engine:
        [got] = engine.infer(feeds).values()
        precision = engine.obtained.precision

    difference = relative_difference(got, want)
    print(f"largest difference {difference:.1e}")
    assert precision == "bfloat16"
    assert FLOAT32_GATE < difference < 1


@needs_bfloat16
def test_a_form_built_in_bfloat16_computes_in_float32_when_that_is_asked_for(tmp_path: Path) -> None:
    model = graphs.convolution()
    built = with_built_form(EngineRequest(model.save(tmp_path), "openvino", 1, "bfloat16")).built
    feeds = {"x": np.random.default_rng(5).standard_normal((1, 3, 30, 30)).astype(np.float32)}

    with load_engine(EngineRequest(tmp_path / "convolution.onnx", "openvino", 1, built=built)) as engine:
        got = engine.infer(feeds)["y"]
        precision = engine.obtained.precision

    assert precision == "float32"
    assert relative_difference(got, model.answer(feeds)["y"]) <= 1e-6


def test_another_precision_than_asked_for_fails_with_both(tmp_path: Path) -> None:
    """A processor without bfloat16 is not at hand; a model compiled in float32 says what that one would say."""
    path = graphs.add().save(tmp_path)
    compiled = import_openvino().Core().compile_model(str(path), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    request = EngineRequest(path, "openvino", 1, "bfloat16")

    with pytest.raises(EngineFailed, match=r"asked for bf16 in 1 stream\(s\) and gives f32 in 1 for .*add\.onnx; ask"):
        check_settings(request, {"INFERENCE_PRECISION_HINT": "bf16", "NUM_STREAMS": 1}, compiled)


@pytest.mark.parametrize("built", [None, b"anything"], ids=["file", "built"])
def test_onnxruntime_refuses_bfloat16(built: bytes | None, tmp_path: Path) -> None:
    request = EngineRequest(graphs.add().save(tmp_path), "onnxruntime", 1, "bfloat16", built=built)

    with pytest.raises(Refused, match="computes in float32 on the CPU, got bfloat16; choose the backend openvino"):
        load_engine(request)


# Options.


def with_option(path: Path, backend: Backend, threads: int, name: str, value: Any) -> EngineRequest:
    return EngineRequest(path, backend, threads, options=((name, value),))


@pytest.mark.parametrize("value", ["all", "off"])
def test_onnxruntime_answers_rightly_with_and_without_optimisation(value: str, tmp_path: Path) -> None:
    model = graphs.convolution()
    request = with_option(model.save(tmp_path), "onnxruntime", 1, "graph_optimization", value)
    feeds = model.example(np.random.default_rng(5))

    with load_engine(request) as engine:
        got = engine.infer(feeds)["y"]

    assert relative_difference(got, model.answer(feeds)["y"]) <= 1e-6


def test_a_built_form_is_refused_where_the_graph_is_wanted_as_it_is_written(tmp_path: Path) -> None:
    path = graphs.add().save(tmp_path)
    built = with_built_form(EngineRequest(path, "onnxruntime", 1)).built
    request = EngineRequest(path, "onnxruntime", 1, options=(("graph_optimization", "off"),), built=built)

    with pytest.raises(Refused, match="'off' reads the model file as it is, a built form was given; give one of both"):
        load_engine(request)


@pytest.mark.parametrize("streams", [1, 2])
def test_streams_up_to_the_number_of_threads_are_granted(streams: int, tmp_path: Path) -> None:
    model = graphs.convolution()
    request = with_option(model.save(tmp_path), "openvino", streams, "streams", streams)
    feeds = model.example(np.random.default_rng(5))

    with load_engine(request) as engine:
        got = engine.infer(feeds)["y"]

    assert relative_difference(got, model.answer(feeds)["y"]) <= 1e-6


@pytest.mark.parametrize(
    ("backend", "name", "value", "text"),
    [
        ("openvino", "streams", 3, "streams must be from 1 to the number of threads, 2, got 3"),
        ("openvino", "streams", 0, "streams must be from 1 to the number of threads, 2, got 0"),
        ("openvino", "streams", "1", "streams must be from 1 to the number of threads, 2, got '1'"),
        ("openvino", "stream", 1, "option 'stream' is not known to the backend openvino; did you mean 'streams'?"),
        ("openvino", "graph_optimization", "off", "is not known to the backend openvino; allowed: streams"),
        ("onnxruntime", "graph_optimization", "on", "graph_optimization must be one of all, off, got 'on'"),
        ("onnxruntime", "streams", 1, "not known to the backend onnxruntime; allowed: execution_provider, graph_opti"),
    ],
)
def test_an_option_that_is_unknown_or_out_of_bounds_is_refused_with_what_is_allowed(
    backend: Backend, name: str, value: Any, text: str, tmp_path: Path
) -> None:
    with pytest.raises(Refused, match=text):
        load_engine(with_option(graphs.add().save(tmp_path), backend, 2, name, value))
