"""ONNX Runtime's TensorRT provider on its double: the shapes it compiles for, and the engines that are kept."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from doubles.onnxruntime_gpu import presented
from doubles.onnxruntime_graph import TENSORRT
from hpi_agent.engines.base import ShapeProfile
from hpi_agent.engines.onnxruntime_gpu import TF32_OVERRIDE
from hpi_agent.engines.registry import build_engine, load_engine
from hpi_core.errors import EngineFailed, Refused
from models import graphs
from support.engines import with_built_form
from support.onnxruntime_requests import by_cuda, by_tensorrt


@pytest.fixture(autouse=True)
def on_the_double(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.delenv(TF32_OVERRIDE, raising=False)
    with presented():
        yield


# Shapes and built forms.


def test_a_free_dimension_without_a_profile_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        Refused, match=r"input 'x' has the shape \(\?, 3\), .*compiles for shapes that are known; give a"
    ):
        load_engine(by_tensorrt(graphs.add(), tmp_path, profiles=()))


@pytest.mark.parametrize("rows", [1, 64])
def test_the_ends_of_a_profile_are_answered(rows: int, tmp_path: Path) -> None:
    with load_engine(by_tensorrt(graphs.add(), tmp_path)) as engine:
        assert engine.infer({"x": np.ones((rows, 3), dtype=np.float32)})["y"].shape == (rows, 3)


def test_a_shape_beyond_the_profile_is_refused_and_leaves_the_engine_fit(tmp_path: Path) -> None:
    with load_engine(by_tensorrt(graphs.add(), tmp_path)) as engine:
        with pytest.raises(Refused, match=r"shape from \(1, 3\) to \(64, 3\), for which .* compiled, got \(65, 3\)"):
            engine.infer({"x": np.ones((65, 3), dtype=np.float32)})

        assert engine.infer({"x": np.ones((1, 3), dtype=np.float32)})["y"].shape == (1, 3)


@pytest.mark.parametrize(
    ("profile", "text"),
    [
        (ShapeProfile("z", (1,), (1,), (1,)), r"has no inputs \['z'\]; it has \['x'\]"),
        (ShapeProfile("x", (1, 4), (1, 4), (1, 4)), r"has the shape \(\?, 3\), its shape profile goes from \(1, 4\)"),
        (ShapeProfile("x", (1,), (1,), (1,)), r"has the shape \(\?, 3\), its shape profile goes from \(1,\)"),
    ],
)
def test_a_profile_that_contradicts_the_model_is_refused(profile: ShapeProfile, text: str, tmp_path: Path) -> None:
    with pytest.raises(Refused, match=text):
        load_engine(by_tensorrt(graphs.add(), tmp_path, profiles=(profile,)))


def test_the_cuda_provider_has_no_built_form(tmp_path: Path) -> None:
    request = by_cuda(graphs.add(), tmp_path)

    assert build_engine(request) is None
    with pytest.raises(Refused, match="'cuda' has no built form; give the model file alone"):
        load_engine(replace(request, built=b"anything"))


def test_an_engine_of_tensorrt_answers_from_its_bytes_and_not_from_the_file(tmp_path: Path) -> None:
    model = graphs.add()
    request = with_built_form(by_tensorrt(model, tmp_path))
    graphs.convolution().save(tmp_path).rename(request.model_path.with_name("other.onnx"))
    feeds = {"x": np.ones((2, 3), dtype=np.float32)}

    with load_engine(request) as engine:
        assert engine.obtained.from_store
        assert np.array_equal(engine.infer(feeds)["y"], model.answer(feeds)["y"])


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"precision": "float16"}, id="another precision"),
        pytest.param({"profiles": (ShapeProfile("x", (1, 3), (2, 3), (4, 3)),)}, id="other shapes"),
    ],
)
def test_an_engine_that_was_built_for_something_else_fails_with_both(changes: Any, tmp_path: Path) -> None:
    built = with_built_form(by_tensorrt(graphs.add(), tmp_path))

    with pytest.raises(
        EngineFailed, match=rf"was written by onnxruntime .*{TENSORRT} tf32 .*{TENSORRT}.*; build it again"
    ):
        load_engine(replace(built, **changes))


def test_an_engine_that_cannot_be_read_fails_with_the_name_of_the_model(tmp_path: Path) -> None:
    request = with_built_form(by_tensorrt(graphs.add(), tmp_path))
    assert request.built is not None
    spoiled = request.built.replace(b"engine of the double for sm90", b"engine of the double for sm80")

    with pytest.raises(
        EngineFailed, match=r"cannot load the built form of .*add\.onnx: .*could not deserialize.*again"
    ):
        load_engine(replace(request, built=spoiled))


def test_building_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    aside = tmp_path / "aside"
    aside.mkdir()
    monkeypatch.chdir(aside)
    monkeypatch.setattr("tempfile.tempdir", str(aside))

    build_engine(by_tensorrt(graphs.add(), tmp_path))

    assert list(aside.iterdir()) == []


def test_measurements_of_kernels_are_kept_and_used_by_the_next_build(tmp_path: Path) -> None:
    kept = tmp_path / "kernels.timing"
    request = by_tensorrt(graphs.add(), tmp_path, timing_cache=kept)
    build_engine(request)
    once = kept.read_bytes()

    build_engine(request)

    assert kept.read_bytes().endswith(b"measured;measured;")
    assert once.endswith(b"measured;")
    assert not list(tmp_path.glob(".*timing*"))


@pytest.mark.parametrize("content", [b"", b"rubbish", b"hpi sealed bytes 1\n"], ids=["empty", "rubbish", "cut"])
def test_measurements_that_are_damaged_are_said_and_measured_anew(
    content: bytes, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    kept = tmp_path / "kernels.timing"
    kept.write_bytes(content)

    build_engine(by_tensorrt(graphs.add(), tmp_path, timing_cache=kept))

    assert kept.read_bytes().endswith(b"measured;")
    assert "the timing cache is ignored; every kernel is measured anew" in caplog.messages
