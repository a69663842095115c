"""Which entries have to go so that a store fits into a size; pure.

First what is in quarantine, the oldest first; then what is known to be damaged; then sound entries, the one that was
used longest ago first. What is pinned, in use or being written stays, even if the store then stays too large.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

QUARANTINE: Final = "quarantine"
"""The kind that things in quarantine are listed under."""

PINNED: Final = "pinned"
IN_USE: Final = "in use"
FITS: Final = "fits"


@dataclass(frozen=True)
class EntryInfo:
    """What is known of one entry without reading its files."""

    kind: str
    key: str
    """`sha256:<hex>`, or the name of a tree; in quarantine the name of the directory there."""
    bytes: int
    last_use: int
    """Place in the order of use: 1 for the entry used last. In quarantine: 1 for what came last."""
    pinned: bool
    in_use: bool
    about: Mapping[str, Any]
    damage: str | None
    """What is wrong with it as far as can be seen without reading its files, or None."""

    @property
    def identity(self) -> tuple[str, str]:
        """Kind and key."""
        return self.kind, self.key


@dataclass(frozen=True)
class Kept:
    """An entry that stays, and why."""

    entry: EntryInfo
    reason: str


@dataclass(frozen=True)
class Plan:
    """What a collection would do."""

    removed: tuple[EntryInfo, ...]
    """In the order in which they go."""
    kept: tuple[Kept, ...]


@dataclass(frozen=True)
class Collected:
    """What a collection did, or would have done."""

    removed: tuple[EntryInfo, ...]
    kept: tuple[Kept, ...]
    bytes_before: int
    bytes_after: int
    """May exceed what was asked for: then everything that is left must stay."""


def plan_collection(
    entries: Sequence[EntryInfo], max_bytes: int, spared: Mapping[tuple[str, str], str] | None = None
) -> Plan:
    """Return which entries go so that the rest has at most a number of bytes, and why each of the rest stays.

    Args:
        entries: All of the store, in any order.
        max_bytes: Size that the store should have, at least 0.
        spared: Reasons to keep an entry, by kind and key, beside those that the entries tell themselves.
    """
    left = sum(entry.bytes for entry in entries)
    removed, kept = [], []
    for entry in sorted(entries, key=_order):
        reason = (spared or {}).get(entry.identity) or _own_reason(entry) or (FITS if left <= max_bytes else None)
        if reason is None:
            left -= entry.bytes
            removed.append(entry)
        else:
            kept.append(Kept(entry, reason))
    return Plan(tuple(removed), tuple(kept))


def _own_reason(entry: EntryInfo) -> str | None:
    if entry.pinned:
        return PINNED
    return IN_USE if entry.in_use else None


def _order(entry: EntryInfo) -> tuple[int, int, str, str]:
    group = 0 if entry.kind == QUARANTINE else 1 if entry.damage is not None else 2
    return group, -entry.last_use, entry.kind, entry.key
