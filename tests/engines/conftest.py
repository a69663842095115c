"""Tests here run once per backend that computes on the processors; those that `load` a model once per way and form.

A way that needs a device runs on the double of its runtime, or on the device itself where `HPI_TEST_DEVICES` names it;
the tests are the same. Then the ways that it does not name are left out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from hpi_agent.engines.base import Engine
from hpi_agent.engines.registry import build_engine, load_engine
from hpi_core.formats import Backend
from models.graphs import TinyModel
from support.engines import IN_PROCESS, WAYS
from support.ways import Form, Way, chosen_devices

Load = Callable[[TinyModel], Engine]
Served = tuple[Way, Form]

SERVED: tuple[Served, ...] = tuple(
    (way, form)
    for way in WAYS
    for form in way.forms
    if way.double is None or not chosen_devices() or way.name in chosen_devices()
)
"""The ways of this run and the forms that each loads."""


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out the graphs that a way need not compute, and shapes of a test's own where there is one shape alone."""
    left_out = [item for item in items if not _concerns_its_way(item)]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in set(left_out)]


def _concerns_its_way(item: pytest.Item) -> bool:
    parameters: dict[str, Any] = item.callspec.params if hasattr(item, "callspec") else {}
    if "served" not in parameters:
        return True
    way: Way = parameters["served"][0]
    if "other_model" in parameters:
        return not way.takes(parameters["other_model"])
    if "free_model" in parameters:
        return way.takes(parameters["free_model"]) and not way.fixed_shapes
    return "model" not in parameters or way.takes(parameters["model"])


@pytest.fixture(params=IN_PROCESS)
def backend(request: pytest.FixtureRequest) -> Backend:
    chosen: Backend = request.param
    return chosen


@pytest.fixture(params=["file", "built"])
def form(request: pytest.FixtureRequest) -> Form:
    """What is loaded: the model file, or the form that was built from it before."""
    chosen: Form = request.param
    return chosen


@pytest.fixture(params=SERVED, ids=[f"{way}-{form}" for way, form in SERVED])
def served(request: pytest.FixtureRequest) -> Iterator[Served]:
    """One way with its runtime in its place, and what it loads."""
    chosen: Served = request.param
    with chosen[0].presented():
        yield chosen


@pytest.fixture
def way(served: Served) -> Way:
    return served[0]


@pytest.fixture(scope="session")
def built_forms() -> dict[tuple[str, str], bytes | None]:
    """Return what was built so far, by way and graph: on a device a build takes seconds."""
    return {}


@pytest.fixture
def load(served: Served, tmp_path: Path, built_forms: dict[tuple[str, str], bytes | None]) -> Iterator[Load]:
    way, form = served
    engines: list[Engine] = []

    def load_tiny(model: TinyModel) -> Engine:
        request = way.request(model, tmp_path)
        if form == "built":
            key = (way.name, model.name)
            if key not in built_forms:
                built_forms[key] = build_engine(request)
            assert built_forms[key] is not None
            request = replace(request, built=built_forms[key])
        engines.append(load_engine(request))
        return engines[-1]

    yield load_tiny
    for engine in engines:
        engine.close()
