"""Listing a store, and making it smaller."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from hpi_agent.store.collection_plan import IN_USE, PINNED, QUARANTINE, Collected, EntryInfo, plan_collection
from hpi_agent.store.entry import open_place
from hpi_agent.store.files import Unsound
from hpi_agent.store.locks import is_held, locked_and_deleted, take_lock
from hpi_agent.store.place import Place, place_of, places
from hpi_agent.store.quarantine import quarantined, reason_of, remove_anything, remove_quarantined
from hpi_agent.store.uses import use_numbers

BEING_WRITTEN: Final = "being written"


def list_entries(root: Path) -> list[EntryInfo]:
    """Return all entries after a quick check of each, the one used last first. Nothing is changed."""
    numbers = use_numbers(root / "uses")
    ordered = sorted(places(root), key=lambda place: (-numbers.get(place.label, 0), place.kind, place.name))
    found = (_entry_info(place, rank) for rank, place in enumerate(ordered, start=1))
    return [entry for entry in found if entry is not None]


def list_quarantine(root: Path) -> list[EntryInfo]:
    """Return what is in quarantine, the newest first."""
    newest_first = enumerate(reversed(quarantined(root)), start=1)
    return [
        EntryInfo(QUARANTINE, path.name, _size_on_disk(path), rank, False, False, {}, reason_of(path))
        for rank, path in newest_first
    ]


def collect(root: Path, max_bytes: int, *, dry_run: bool, spared: Mapping[tuple[str, str], str]) -> Collected:
    """Remove what has to go; see `plan_collection`.

    Raises:
        OSError: Something cannot be removed.
    """
    if dry_run or not root.exists():
        entries = list_entries(root) + list_quarantine(root)
        plan = plan_collection(entries, max_bytes, spared)
        before = sum(entry.bytes for entry in entries)
        return Collected(plan.removed, plan.kept, before, before - sum(entry.bytes for entry in plan.removed))
    with _one_at_a_time(root):
        _forget_uses(root)
        return _collect(root, max_bytes, dict(spared))


def _collect(root: Path, max_bytes: int, spared: dict[tuple[str, str], str]) -> Collected:
    left = list_entries(root) + list_quarantine(root)
    before = sum(entry.bytes for entry in left)
    removed: list[EntryInfo] = []
    # Ends: every pass but the last removes an entry or learns that one has to stay.
    while (plan := plan_collection(left, max_bytes, spared)).removed:
        for entry in plan.removed:
            reason = _remove(root, entry)
            if reason is None:
                removed.append(entry)
                left.remove(entry)
            else:
                # Somebody opened or pinned it since it was listed; the next pass finds another one.
                spared[entry.identity] = reason
    return Collected(tuple(removed), plan.kept, before, sum(entry.bytes for entry in left))


def _remove(root: Path, entry: EntryInfo) -> str | None:
    if entry.kind == QUARANTINE:
        remove_quarantined(root / "quarantine" / entry.key)
        return None
    place = place_of(root, entry.kind, entry.key)
    # Somebody is about to use it or to replace it; removing it now would be safe and make them build it again.
    return BEING_WRITTEN if is_held(place.lock) else _remove_unused(place)


def _remove_unused(place: Place) -> str | None:
    """Remove an entry, or return why it has to stay.

    No file is made in doing so, for a disk without room is where it is needed most.
    """
    try:
        use = take_lock(place.use, wait=False)
    except BlockingIOError:
        return IN_USE
    try:
        # Whoever pins it shares the lock meanwhile.
        if place.pin.exists():
            return PINNED
        remove_anything(place.removal)
        place.removal.parent.mkdir(parents=True, exist_ok=True)
        # Gone at once for everybody who looks, however long the deletion takes and wherever it is stopped.
        place.directory.rename(place.removal)
        place.use.unlink(missing_ok=True)
    except FileNotFoundError:
        # The whole store is being deleted by somebody else: then the entry is gone, as was wanted.
        return None
    finally:
        os.close(use)
    remove_anything(place.removal)
    return None


@contextlib.contextmanager
def _one_at_a_time(root: Path) -> Iterator[None]:
    """Let two collections not both make room for the same publication."""
    with contextlib.ExitStack() as held:
        try:
            held.enter_context(locked_and_deleted(root / "locks" / "collection"))
        except OSError as error:
            # Without room for the lock: two at once remove too much rather than nothing at all.
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
        yield


def _forget_uses(root: Path) -> None:
    """Delete the numbers of entries that are gone by another way, such as quarantine."""
    labels = {place.label for place in places(root)}
    for label in use_numbers(root / "uses"):
        if label not in labels:
            # Held by somebody who publishes it this very moment, or still has it open.
            with contextlib.suppress(BlockingIOError), locked_and_deleted(root / "uses" / label, wait=False):
                pass


def _entry_info(place: Place, rank: int) -> EntryInfo | None:
    damage, about, size_bytes = None, {}, 0
    try:
        descriptor, manifest = open_place(place)
        os.close(descriptor)
        about, size_bytes = dict(manifest.about), manifest.size_bytes
    except FileNotFoundError:
        return None
    except Unsound as found:
        damage, size_bytes = str(found), _size_on_disk(place.directory)
    return EntryInfo(place.kind, place.key, size_bytes, rank, place.pin.exists(), is_held(place.use), about, damage)


def _size_on_disk(path: Path) -> int:
    """Return the bytes of all files of anything; what vanishes meanwhile counts nothing."""
    if path.is_symlink() or not path.is_dir():
        return _file_bytes(path)
    return sum(_file_bytes(Path(folder, name)) for folder, _, names in os.walk(path) for name in names)


def _file_bytes(path: Path) -> int:
    try:
        return path.lstat().st_size
    except FileNotFoundError:
        return 0
