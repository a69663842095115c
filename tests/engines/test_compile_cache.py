"""What a compile cache gives, and what it never does: answer from damaged bytes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from hpi_agent.engines.base import EngineRequest
from hpi_agent.engines.registry import load_engine
from hpi_core.errors import HpiError, Refused
from hpi_core.formats import Backend
from models import graphs
from models.real import CLASSIFIER, real_model


def request_for(path: Path, backend: Backend, cache: Path) -> EngineRequest:
    return EngineRequest(path, backend, threads=1, cache_directory=cache)


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    directory = tmp_path / "cache"
    directory.mkdir()
    return directory


def test_a_second_load_takes_what_the_first_compiled(cache: Path, tmp_path: Path) -> None:
    model = graphs.convolution()
    request = request_for(model.save(tmp_path), "openvino", cache)
    feeds = model.example(np.random.default_rng(5))

    with load_engine(request) as first, load_engine(request) as second:
        loads = (first.obtained.from_cache, second.obtained.from_cache)
        answers = (first.infer(feeds)["y"], second.infer(feeds)["y"])

    assert loads == (False, True)
    assert np.array_equal(*answers)


def test_a_cached_engine_describes_itself_as_a_fresh_one(cache: Path, tmp_path: Path) -> None:
    request = request_for(graphs.mixed().save(tmp_path), "openvino", cache)

    with load_engine(request) as first, load_engine(request) as second:
        described = [(one.inputs, one.outputs, replace(one.obtained, from_cache=False)) for one in (first, second)]

    assert described[0] == described[1]


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(lambda blob: blob[:3000] + b"\xff" * 50 + blob[3050:], id="50 bytes overwritten"),
        pytest.param(lambda blob: blob[: len(blob) // 2], id="cut short"),
        pytest.param(lambda _: b"", id="empty"),
        pytest.param(lambda blob: bytes(len(blob)), id="zeros"),
    ],
)
def test_a_damaged_cache_is_compiled_again(damage: Callable[[bytes], bytes], cache: Path, tmp_path: Path) -> None:
    request = request_for(real_model(CLASSIFIER), "openvino", cache)
    x = np.random.default_rng(5).standard_normal((1, 3, 48, 192)).astype(np.float32)
    with load_engine(request) as engine:
        [want] = engine.infer({"x": x}).values()
    [blob] = cache.glob("*.blob")
    damaged = damage(blob.read_bytes())
    blob.unlink()
    blob.write_bytes(damaged)

    with load_engine(request) as engine:
        [got] = engine.infer({"x": x}).values()
        from_cache = engine.obtained.from_cache

    assert not from_cache
    assert np.array_equal(got, want)


def test_the_directory_of_the_model_is_refused_as_cache(backend: Backend, tmp_path: Path) -> None:
    path = graphs.add().save(tmp_path)

    with pytest.raises(Refused, match="must not be the model's own directory"):
        load_engine(request_for(path, backend, tmp_path / "." / "x" / ".."))


def test_a_cache_that_cannot_be_written_fails_with_its_name(tmp_path: Path) -> None:
    path = graphs.add().save(tmp_path)
    occupied = tmp_path / "file"
    occupied.write_text("not a directory")

    with pytest.raises(HpiError, match=str(occupied)):
        load_engine(request_for(path, "openvino", occupied))


def test_onnxruntime_keeps_nothing_and_says_so(cache: Path, tmp_path: Path) -> None:
    request = request_for(graphs.add().save(tmp_path), "onnxruntime", cache)

    with load_engine(request), load_engine(request) as second:
        assert (second.obtained.from_cache, list(cache.iterdir())) == (False, [])
