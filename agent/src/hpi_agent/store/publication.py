"""Publication: written aside, flushed, digested, sealed, renamed. Whatever stops it, nothing half-written is seen."""

from __future__ import annotations

import contextlib
import itertools
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from hpi_agent.store.entry import find_damage
from hpi_agent.store.files import flush, make_directory
from hpi_agent.store.locks import locked_and_deleted, take_lock
from hpi_agent.store.manifest import seal_directory
from hpi_agent.store.opening import begin_use, find_quickly, put_away
from hpi_agent.store.partial import PARTIAL
from hpi_agent.store.place import REMOVED, TREES, Place
from hpi_agent.store.quarantine import remove_anything
from hpi_agent.store.tree import seal_tree
from hpi_agent.store.uses import number_use

MAX_ABANDONED: Final = 64
"""Most entries of `tmp/` that one publication looks at when it clears up behind writers that died."""


@dataclass(frozen=True)
class Publication:
    """One entry to be published."""

    place: Place
    write: Callable[[Path], None]
    about: Mapping[str, Any]

    def publish(self) -> bool:
        """Return whether the entry was made now; a sound one that is there counts as used.

        Raises:
            OSError: The store cannot be written.
        """
        if os.path.lexists(self.place.directory) and self._is_sound():
            return False
        with locked_and_deleted(self.place.lock):
            # Another process may have published it while this one waited for the lock.
            if os.path.lexists(self.place.directory) and self._is_sound(put_away):
                return False
            self._make()
        remove_abandoned(self.place.root)
        return True

    def _is_sound(self, discard: Callable[[Place, str], object] = lambda place, damage: None) -> bool:
        use = begin_use(self.place)
        try:
            damage = self._find_damage()
            if damage is None and use is not None:
                number_use(self.place.use, use)
            if damage is not None and os.path.lexists(self.place.directory):
                # Still in use, so that no collection removes it at the same moment.
                discard(self.place, damage)
        finally:
            if use is not None:
                os.close(use)
        return damage is None

    def _find_damage(self) -> str | None:
        # A tree is too large to be read whenever somebody asks for it.
        return find_quickly(self.place) if self.place.kind in TREES else find_damage(self.place.directory)

    def _make(self) -> None:
        staging, directory = self.place.staging, self.place.directory
        remove_anything(staging)
        staging.mkdir(parents=True, mode=0o755)
        try:
            self.write(staging)
            seal = seal_tree if self.place.kind in TREES else seal_directory
            seal(staging, self.place, self.about)
            make_directory(directory.parent)
            # In use until it has its number: without one it would be the first to be collected.
            use = take_lock(self.place.use, shared=True)
            try:
                staging.rename(directory)
                flush(directory.parent)
                number_use(self.place.use, use)
            finally:
                os.close(use)
        finally:
            with contextlib.suppress(OSError):
                remove_anything(staging)


def remove_abandoned(root: Path) -> None:
    """Delete what writers that died have left; those at work hold the locks of theirs."""
    # What cannot be deleted now is left for the next publication: this one has succeeded.
    with contextlib.suppress(OSError):
        # What is being fetched is worth keeping, whoever died.
        abandoned = (path for path in (root / "tmp").iterdir() if not path.name.startswith(PARTIAL))
        for staging in itertools.islice(abandoned, MAX_ABANDONED):
            with contextlib.suppress(OSError):
                if staging.name.startswith(REMOVED):
                    remove_anything(staging)
                else:
                    _remove_if_abandoned(root, staging)


def _remove_if_abandoned(root: Path, staging: Path) -> None:
    with locked_and_deleted(root / "locks" / staging.name, wait=False):
        remove_anything(staging)
