"""The node's cache: how full it is, and what goes when it is larger than it may be."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from hpi_agent.node.status import Cache
from hpi_agent.store.collection_plan import QUARANTINE, EntryInfo
from hpi_agent.store.directory import Store
from hpi_agent.store.place import KINDS

log: Final = logging.getLogger(__name__)

LOW_PERCENT: Final = 90
"""A cache that is larger than its quota is made smaller than this, so that the next engine does not begin it again."""
WANTED: Final = "wanted"
ENGINES: Final = "engines"
LOOK_SECONDS: Final = 300.0
"""How often a cache is looked at in which nothing is known to have changed."""


@dataclass(frozen=True)
class CacheLook:
    """What was found in the cache."""

    cache: Cache
    engines: frozenset[str]
    """Keys of its engines."""


class NodeCache:
    """Looks at the store of a node, and keeps it within its quota. One thread at a time."""

    def __init__(self, store: Store, own_quota_bytes: int, clock: Callable[[], float] = time.monotonic) -> None:
        """Prepare.

        Args:
            store: The store.
            own_quota_bytes: Most that it may hold where the HPINode names no quota. Unit: bytes.
            clock: Seconds that never go back.
        """
        self._store = store
        self._own_quota_bytes = own_quota_bytes
        self._clock = clock
        self._looked_at: float | None = None
        self._seen: tuple[int, ...] = ()
        self._look = CacheLook(Cache(own_quota_bytes), frozenset())

    def look(self, quota_bytes: int | None, priorities: Mapping[str, int]) -> CacheLook:
        """Return what is in the cache, after removing what has to go.

        Entries used longest ago go first. Wanted engines go last, those of the lowest priority before others: a quota
        that they alone exceed is kept all the same, because a full volume fails every pod.

        Args:
            quota_bytes: Most that it may hold; None: the agent's own setting. Unit: bytes.
            priorities: Priority of each wanted engine by its key in the store.

        Raises:
            Stop: The store cannot be read, or something cannot be removed.
        """
        quota = self._own_quota_bytes if quota_bytes is None else quota_bytes
        stamps = self._stamps()
        due = self._looked_at is None or self._clock() - self._looked_at >= LOOK_SECONDS
        if not due and (quota, *stamps) == self._seen:
            return self._look
        entries = self._entries()
        if _bytes(entries) > quota:
            self._collect(quota, priorities)
            stamps, entries = self._stamps(), self._entries()
        engines = frozenset(one.key for one in entries if one.kind == ENGINES and one.damage is None)
        self._look = CacheLook(Cache(quota, _bytes(entries), len(entries)), engines)
        # The stamps are older than the list: what a pod brings in between is seen by the next look.
        self._looked_at, self._seen = self._clock(), (quota, *stamps)
        return self._look

    def has_changed(self) -> bool:
        """Return whether entries came or went since the last look; a few questions to the file system."""
        return self._looked_at is not None and self._seen[1:] != self._stamps()

    def _collect(self, quota: int, priorities: Mapping[str, int]) -> None:
        low = quota * LOW_PERCENT // 100
        # First nothing that is wanted goes, then what is wanted least, and so on; the last step spares nothing.
        for lowest in [*sorted(set(priorities.values())), None]:
            spared = {(ENGINES, key): WANTED for key, one in priorities.items() if lowest is not None and one >= lowest}
            done = self._store.collect(low if lowest is None or spared else quota, spared=spared)
            for entry in done.removed:
                words = {"kind": entry.kind, "key": entry.key, "bytes": entry.bytes}
                log.info("collected", extra=words)
            if done.bytes_after <= quota:
                return
        log.warning("the cache is larger than its quota", extra={"bytes": done.bytes_after, "quota": quota})

    def _entries(self) -> list[EntryInfo]:
        return [*self._store.entries(), *self._store.quarantined()]

    def _stamps(self) -> tuple[int, ...]:
        """Return what changes when an entry comes or goes: the times of the folders of all kinds."""
        stamps = []
        for kind in (*KINDS, QUARANTINE):
            try:
                stamps.append((self._store.root / kind).stat().st_mtime_ns)
            except OSError:
                stamps.append(0)
        return tuple(stamps)


def _bytes(entries: list[EntryInfo]) -> int:
    return sum(one.bytes for one in entries)
