"""A full cache volume is said until something fits again, or somebody has made room."""

from __future__ import annotations

import shutil
from collections import namedtuple
from pathlib import Path
from typing import Any, cast

import pytest

from hpi_agent.exchange.service import Exchange
from hpi_agent.node.cache_room import MADE_BYTES, CacheRoom
from hpi_agent.store.directory import Store

Usage = namedtuple("Usage", "total used free")
Here = tuple[CacheRoom, Exchange, dict[str, int]]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Here:
    """A room, its exchange, and the free bytes of the volume."""
    nobody = cast(Any, None)
    exchange, free = Exchange(Store(tmp_path), nobody, nobody, nobody), {"bytes": 1_000}
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(0, 0, free["bytes"]))
    return CacheRoom(exchange), exchange, free


def test_a_volume_that_is_full_is_news_once_and_so_is_that_something_fits(here: Here) -> None:
    room, exchange, _ = here
    said = []

    for word in (None, "full", "full", None):
        exchange.full = word
        said.append((room.has_changed(), room.full()))

    assert said == [(False, None), (True, "full"), (False, "full"), (True, None)]


@pytest.mark.parametrize(("made", "is_full"), [(MADE_BYTES - 1, True), (MADE_BYTES, False)])
def test_room_that_somebody_makes_is_noticed_without_a_pod(here: Here, made: int, is_full: bool) -> None:
    room, exchange, free = here
    exchange.full = "full"
    room.full()

    free["bytes"] += made

    assert (room.has_changed(), room.full()) == (not is_full, "full" if is_full else None)
    assert (exchange.full is None) is not is_full


def test_a_volume_that_has_gone_is_no_fault_of_the_look(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    room, exchange, _ = here

    def gone(_: Path) -> Usage:
        raise FileNotFoundError("gone")

    monkeypatch.setattr(shutil, "disk_usage", gone)
    exchange.full = "full"

    assert room.full() == "full"
