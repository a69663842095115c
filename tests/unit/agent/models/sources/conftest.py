"""A server and a store for each test of sources that are fetched."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from support.fetching import Fetcher
from support.http_site import Site, serving


@pytest.fixture
def site() -> Iterator[Site]:
    """An empty server on this machine."""
    with serving() as site:
        yield site


@pytest.fixture
def fetcher(tmp_path: Path) -> Fetcher:
    """A store, and a clock that does not wait."""
    return Fetcher(tmp_path / "store")
