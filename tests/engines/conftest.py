"""Every test here runs once per backend of this release."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hpi_agent.engines.base import Engine, EngineRequest
from hpi_agent.engines.registry import load_engine
from hpi_core.formats import BACKENDS, Backend
from models.graphs import TinyModel

Load = Callable[[TinyModel], Engine]


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest) -> Backend:
    chosen: Backend = request.param
    return chosen


@pytest.fixture
def load(backend: Backend, tmp_path: Path) -> Iterator[Load]:
    engines: list[Engine] = []

    def load_tiny(model: TinyModel) -> Engine:
        engines.append(load_engine(EngineRequest(model.save(tmp_path), backend, threads=1)))
        return engines[-1]

    yield load_tiny
    for engine in engines:
        engine.close()
