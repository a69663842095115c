"""Tests here run once per backend that computes inside this process, and those that `load` a model once per form."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal

import pytest

from hpi_agent.engines.base import Engine, EngineRequest
from hpi_agent.engines.registry import load_engine
from hpi_core.formats import Backend
from models.graphs import TinyModel
from support.engines import IN_PROCESS, with_built_form

Load = Callable[[TinyModel], Engine]
Form = Literal["file", "built"]


@pytest.fixture(params=IN_PROCESS)
def backend(request: pytest.FixtureRequest) -> Backend:
    chosen: Backend = request.param
    return chosen


@pytest.fixture(params=["file", "built"])
def form(request: pytest.FixtureRequest) -> Form:
    """What is loaded: the model file, or the form that was built from it before."""
    chosen: Form = request.param
    return chosen


@pytest.fixture
def load(backend: Backend, form: Form, tmp_path: Path) -> Iterator[Load]:
    engines: list[Engine] = []

    def load_tiny(model: TinyModel) -> Engine:
        request = EngineRequest(model.save(tmp_path), backend, threads=1)
        engines.append(load_engine(with_built_form(request) if form == "built" else request))
        return engines[-1]

    yield load_tiny
    for engine in engines:
        engine.close()
