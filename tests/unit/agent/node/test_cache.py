"""The node's cache within its quota: what was used longest ago goes first, what is wanted goes last."""

from __future__ import annotations

from pathlib import Path

import pytest

from hpi_agent.node.cache import LOOK_SECONDS, NodeCache
from hpi_agent.store.collection_plan import EntryInfo
from hpi_agent.store.directory import Store

SIZE = 1_000


def a_key(number: int) -> str:
    """Return a key."""
    return f"sha256:{number:064x}"


def an_engine(store: Store, number: int) -> None:
    """Publish an engine of 1,000 bytes, with 1 to 2 kB of manifest that count as well or not, as the store says."""
    store.publish("engines", a_key(number), lambda directory: _write(directory / "engine.bin"))


def _write(path: Path) -> None:
    path.write_bytes(b"\0" * SIZE)


class Clock:
    """A clock that is moved by hand."""

    seconds = 0.0

    def __call__(self) -> float:
        """Return the time."""
        return self.seconds


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """A store with ten engines, the first used longest ago."""
    made = Store(tmp_path / "store")
    for number in range(10):
        an_engine(made, number)
    return made


def size_of_one(store: Store) -> int:
    """Return what one engine counts for."""
    return store.entries()[0].bytes


def test_a_cache_within_its_quota_is_left_alone(store: Store) -> None:
    quota = 10 * size_of_one(store)

    look = NodeCache(store, quota).look(None, {})

    assert (look.cache.quota_bytes, look.cache.used_bytes, look.cache.entries) == (quota, quota, 10)
    assert look.engines == {a_key(number) for number in range(10)}


def test_a_cache_beyond_its_quota_loses_what_was_used_longest_ago(store: Store) -> None:
    quota = 10 * size_of_one(store) - 1

    look = NodeCache(store, 10**9).look(quota, {})

    assert look.cache.quota_bytes == quota
    assert look.cache.used_bytes <= quota * 9 // 10
    assert look.engines == {a_key(number) for number in range(2, 10)}


def test_wanted_engines_go_last(store: Store) -> None:
    quota = 4 * size_of_one(store)

    look = NodeCache(store, quota).look(None, {a_key(0): 0, a_key(1): 5})

    assert {a_key(0), a_key(1)} <= look.engines
    assert len(look.engines) == 3


def test_of_wanted_engines_alone_those_of_the_lowest_priority_go_first(store: Store) -> None:
    quota = 3 * size_of_one(store)
    priorities = {a_key(number): number for number in range(10)}

    look = NodeCache(store, quota).look(None, priorities)

    assert look.engines <= {a_key(7), a_key(8), a_key(9)}
    assert look.cache.used_bytes <= quota


def test_a_quota_that_wanted_engines_of_one_priority_exceed_is_kept_all_the_same(store: Store) -> None:
    quota = 3 * size_of_one(store)

    look = NodeCache(store, quota).look(None, {a_key(number): 0 for number in range(10)})

    assert look.cache.used_bytes <= quota
    assert look.engines


def test_a_cache_that_did_not_change_is_not_read_again_at_once(store: Store) -> None:
    clock = Clock()
    cache = NodeCache(store, 10**9, clock)
    first = cache.look(None, {})

    same = cache.look(None, {})
    before = cache.has_changed()
    an_engine(store, 11)
    after = cache.has_changed()
    changed = cache.look(None, {})
    clock.seconds = LOOK_SECONDS
    due = cache.look(None, {})

    assert first is same
    assert (before, after) == (False, True)
    assert len(changed.engines) == 11
    assert due is not changed


def test_what_a_pod_brings_while_the_cache_is_read_is_seen_by_the_next_look(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache, read = NodeCache(store, 10**9, Clock()), Store.entries

    def read_and_be_late(store: Store) -> list[EntryInfo]:
        found = read(store)
        monkeypatch.undo()
        an_engine(store, 11)
        return found

    monkeypatch.setattr(Store, "entries", read_and_be_late)
    late = cache.look(None, {})

    assert (late.cache.entries, cache.has_changed()) == (10, True)
    assert cache.look(None, {}).cache.entries == 11


def test_a_cache_that_is_not_there_yet_is_empty(tmp_path: Path) -> None:
    look = NodeCache(Store(tmp_path / "none"), 1_000).look(None, {})

    assert (look.cache.used_bytes, look.cache.entries, look.engines) == (0, 0, frozenset())
