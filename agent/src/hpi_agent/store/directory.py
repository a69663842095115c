"""The store on disk: published whole, verified before use, never larger than it may be.

One entry has one writer at a time: it holds `locks/<kind>-<name>`, which the kernel frees when its holder dies, and
writes in `tmp/<kind>-<name>`. Whoever gets the lock therefore knows that what lies there was abandoned. Readers share
the lock `uses/<kind>-<name>`, which a collection must have to itself before it removes anything.

    <kind>/<name>/      entries: sources, models, converted, engines (flat directories), plugins (trees)
    decisions/          one sealed JSON file per key
    source-records/     one sealed JSON file per source that was fetched
    tmp/                what is being written, fetched or deleted
    quarantine/         what was found damaged, each with its reason
    locks/ uses/ pins/  see `hpi_agent.store.place`
"""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from hpi_agent.store import decisions
from hpi_agent.store.collection import collect, list_entries, list_quarantine
from hpi_agent.store.collection_plan import Collected, EntryInfo
from hpi_agent.store.defaults import default_store_max_bytes, default_store_root
from hpi_agent.store.entry import Damaged, Entry, find_damage
from hpi_agent.store.files import digest_of_file, flush, make_directory
from hpi_agent.store.locks import locked, locked_and_deleted
from hpi_agent.store.manifest import MANIFEST
from hpi_agent.store.opening import open_entry, verify_entry
from hpi_agent.store.partial import remove_partials
from hpi_agent.store.place import TREES, Place, checked_name, place_of
from hpi_agent.store.publication import Publication, remove_abandoned
from hpi_agent.store.unusable import unusable
from hpi_core.errors import Bug, Refused, Retry

__all__ = [
    "MANIFEST",
    "Collected",
    "Damaged",
    "Entry",
    "EntryInfo",
    "Store",
    "default_store_max_bytes",
    "default_store_root",
    "digest_of_file",
    "find_damage",
]

Write = Callable[[Path], None]

log: Final = logging.getLogger(__name__)


@dataclass(frozen=True)
class Store:
    """One store; several processes may use it at once."""

    root: Path
    max_bytes: int | None = None
    """Size that no publication leaves it above, so far as entries may go; None: no limit. Unit: bytes."""

    def publish(self, kind: str, key: str, write: Write, *, about: Mapping[str, Any] | None = None) -> Path:
        """Return the complete directory `<kind>/<digits of key>`, made by `write` unless a sound one is there already.

        Of several processes that publish one key at once, one writes and the others wait for it. A directory that is
        there is read and compared with its manifest, every byte. Both count as a use.

        Args:
            kind: Folder inside the store.
            key: `sha256:<hex>` that names everything that shaped the content.
            write: Fills an empty directory with regular files. Called at most once.
            about: What the manifest says of the entry, JSON.

        Raises:
            Bug: `write` made anything but regular files of this process's user.
            Refused: The key is not one, or a file has the manifest's name.
            Stop: The store cannot be written (read-only, full), with the path and what to do.
        """
        place = place_of(self.root, kind, key)
        if kind in TREES:
            raise Bug(f"{kind} holds trees; use publish_tree")
        return self._publish(Publication(place, write, about or {}))

    def publish_tree(self, kind: str, name: str, write: Write, *, about: Mapping[str, Any]) -> Path:
        """Return the complete tree `<kind>/<name>`, made by `write` unless it is there already.

        As `publish`, but the tree may hold directories and symbolic links, and one that is there gets the quick check.

        Raises:
            Bug: `write` made something else, links that lead out of the tree by a relative path, or the like.
            Refused: The name is not one, or a path has a name of the store's own.
            Stop: The store cannot be written (read-only, full), with the path and what to do.
        """
        place = place_of(self.root, kind, name)
        if kind not in TREES:
            raise Bug(f"{kind} holds no trees; use publish")
        return self._publish(Publication(place, write, about))

    def open(self, kind: str, key: str) -> Entry | None:
        """Return an entry in use, or None when there is none, or it was damaged and now lies in quarantine.

        Checked are the manifest, the exact set of files, and kind, size, owner and mode of each; the content is checked
        by `Entry.read` on the bytes that it returns.

        Raises:
            Refused: The key is not one.
            Stop: The store cannot be read.
        """
        if kind in TREES:
            raise Bug(f"{kind} holds trees; use open_tree")
        return self._open(place_of(self.root, kind, key))

    def open_tree(self, kind: str, name: str) -> Entry | None:
        """Return a tree in use, or None as `open` does; its manifest is checked, its files by `Entry.verify` alone.

        Raises:
            Refused: The name is not one.
            Stop: The store cannot be read.
        """
        if kind not in TREES:
            raise Bug(f"{kind} holds no trees; use open")
        return self._open(place_of(self.root, kind, name))

    @contextlib.contextmanager
    def hold(self, name: str, *, wait: bool = True) -> Iterator[None]:
        """Be the only one who does something, among all processes that use this store.

        The kernel ends it when the process dies.

        Raises:
            Refused: The name cannot stand in a path.
            Retry: Somebody else is doing it, and `wait` is false.
            Stop: The store cannot be written.
        """
        path = self.root / "locks" / f"hold.{checked_name(name)}"
        with contextlib.ExitStack() as held:
            try:
                held.enter_context(locked_and_deleted(path, wait=wait))
            except BlockingIOError as error:
                raise Retry(
                    f"another process holds {name!r} in the store {self.root}; wait until it is done"
                ) from error
            except OSError as error:
                raise unusable(self.root, error) from error
            yield

    def verify(self, kind: str, key: str) -> str | None:
        """Read every byte of an entry; return what was found damaged and done about it, None when it is sound or gone.

        It does not count as a use.

        Raises:
            Refused: The key is not one.
            Stop: The store cannot be read.
        """
        with self._stopping():
            return verify_entry(place_of(self.root, kind, key))

    def entries(self) -> list[EntryInfo]:
        """Return all entries, the one used last first, after a quick check of each; nothing is changed.

        Raises:
            Stop: The store cannot be read.
        """
        with self._stopping():
            return list_entries(self.root)

    def quarantined(self) -> list[EntryInfo]:
        """Return what is in quarantine, the newest first; `damage` says why.

        Raises:
            Stop: The store cannot be read.
        """
        with self._stopping():
            return list_quarantine(self.root)

    def collect(
        self, max_bytes: int, *, dry_run: bool = False, spared: Mapping[tuple[str, str], str] | None = None
    ) -> Collected:
        """Remove what has to go so that the store has at most `max_bytes`; see `hpi_agent.store.collection_plan`.

        Entries and quarantine count; decisions, a few kilobytes each, do not, nor does what is being written.

        Args:
            max_bytes: At least 0.
            dry_run: Change nothing and tell what would be done.
            spared: Reasons to keep an entry, by kind and key, beside those that the entries tell themselves.

        Raises:
            Stop: Something cannot be removed.
        """
        with self._stopping():
            if not dry_run:
                remove_abandoned(self.root)
                # Somebody wants room: what was half fetched can be fetched again.
                remove_partials(self.root)
            return collect(self.root, max_bytes, dry_run=dry_run, spared=spared or {})

    def pin(self, kind: str, key: str) -> None:
        """Keep an entry from being collected; a second time does nothing.

        Raises:
            Refused: There is no such entry.
            Stop: The store cannot be written.
        """
        place = place_of(self.root, kind, key)
        with self._stopping():
            self._check_presence(place)
            # In use meanwhile: a collection that has looked at the pins already is waited for.
            with locked(place.use, shared=True):
                self._check_presence(place)
                make_directory(place.pin.parent)
                place.pin.touch(mode=0o644)
                flush(place.pin.parent)

    def unpin(self, kind: str, key: str) -> None:
        """Let an entry be collected again; one that is not pinned stays as it is.

        Raises:
            Stop: The store cannot be written.
        """
        with self._stopping():
            place_of(self.root, kind, key).pin.unlink(missing_ok=True)

    def read_decision(self, key: str) -> dict[str, Any] | None:
        """Return a remembered decision, or None when there is none, or it was damaged and now lies in quarantine.

        Raises:
            Refused: The key is not one.
            Stop: The store cannot be read.
        """
        with self._stopping():
            return decisions.read_decision(self.root, key)

    def write_decision(self, key: str, document: Mapping[str, Any]) -> None:
        """Remember a decision in place of any other of that key.

        Raises:
            Refused: The key is not one, or the decision is too large.
            Stop: The store cannot be written; what was remembered before is still there.
        """
        with self._stopping():
            decisions.write_decision(self.root, key, document)

    def decision_stamp(self, key: str) -> tuple[int, int, int] | None:
        """Return what changes when a decision is replaced (inode, nanoseconds, bytes), None when there is none.

        Raises:
            Refused: The key is not one.
            Stop: The store cannot be read.
        """
        with self._stopping():
            return decisions.decision_stamp(self.root, key)

    def decision_keys(self) -> list[str]:
        """Return the keys of all remembered decisions, sound or not.

        Raises:
            Stop: The store cannot be read.
        """
        with self._stopping():
            return decisions.decision_keys(self.root)

    def decisions(self) -> list[dict[str, Any]]:
        """Return all remembered decisions.

        Raises:
            Stop: The store cannot be read.
        """
        with self._stopping():
            return decisions.all_decisions(self.root)

    def _publish(self, publication: Publication) -> Path:
        with self._stopping():
            if publication.publish():
                self._shrink(publication.place)
        return publication.place.directory

    def _open(self, place: Place) -> Entry | None:
        with self._stopping():
            return open_entry(place)

    def _check_presence(self, place: Place) -> None:
        if not os.path.lexists(place.directory):
            what = f"{place.kind} {place.key}"
            raise Refused(f"there is no {what} in {self.root}; hpi-agent store ls lists what there is")

    def _shrink(self, published: Place) -> None:
        """Make the store fit its limit, whatever was just published excepted."""
        if self.max_bytes is None:
            return
        spared = {(published.kind, published.key): "just published"}
        try:
            done = collect(self.root, self.max_bytes, dry_run=False, spared=spared)
        except OSError as error:
            log.warning("the store %s cannot be made smaller: %s", self.root, error)
            return
        for entry in done.removed:
            log.info("collected %s %s, %d bytes", entry.kind, entry.key, entry.bytes)
        if done.bytes_after > self.max_bytes:
            log.warning(
                "the store %s has %d bytes, %d are allowed ($HPI_STORE_MAX_BYTES); the rest is in use or pinned",
                self.root,
                done.bytes_after,
                self.max_bytes,
            )

    @contextlib.contextmanager
    def _stopping(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise unusable(self.root, error) from error
