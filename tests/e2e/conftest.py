"""One store and one served sample for all tests of this folder; tests that break a server start their own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from support.servers import RunningServer, sample_manifest, serving


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("store")


@pytest.fixture(scope="session")
def server(store: Path) -> Iterator[RunningServer]:
    with serving(sample_manifest(), store) as running:
        yield running


@pytest.fixture(scope="session")
def page() -> bytes:
    import importlib.util

    spec = importlib.util.find_spec("skimage")
    assert spec is not None
    assert spec.submodule_search_locations is not None
    return (Path(next(iter(spec.submodule_search_locations))) / "data" / "page.png").read_bytes()
