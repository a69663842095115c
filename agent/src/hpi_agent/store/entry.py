"""One entry in use: nobody removes it, and every byte that it hands out has been checked."""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from hpi_agent.store.files import Unsound, open_directory, open_file, read_whole, trusted_owners
from hpi_agent.store.manifest import Manifest, Seal, check_digest, check_files, check_size, read_manifest
from hpi_agent.store.place import Place
from hpi_agent.store.tree import check_tree
from hpi_agent.store.unusable import unusable
from hpi_core.errors import Refused, Stop, TooLarge


class Damaged(Stop):
    """An entry is not what was published; it lies in quarantine, and is made anew by the next publication."""


class Entry:
    """An entry that is in use until it is closed. `Store.open` makes it.

    Files are opened below the directory that was checked, not below its path: what is put in its place meanwhile is
    never read.

    Attributes:
        directory: Where its files are, for runtimes that want a path; such a runtime reads bytes that nobody checks.
        about: What its maker said of it.
    """

    def __init__(self, place: Place, descriptors: list[int], manifest: Manifest, discard: Callable[[str], str]) -> None:
        """Take over what was opened.

        Args:
            place: Where it lies.
            descriptors: Of the directory, and of the lock that marks the use where there is one.
            manifest: Read and checked.
            discard: Puts the entry into quarantine for a reason and says what was done.
        """
        self.directory: Path = place.directory
        self.about: Mapping[str, Any] = manifest.about
        self._place = place
        self._directory = descriptors[0]
        self._manifest = manifest
        self._discard = discard
        self._close = weakref.finalize(self, _close_all, descriptors)

    def read(self, name: str, max_bytes: int) -> bytes:
        """Return the content of one file; its digest is checked on the very bytes that are returned.

        Raises:
            Damaged: They are not what was published.
            Refused: The entry has no such file.
            Stop: They cannot be read for a reason of this process's own, such as too many open files.
            TooLarge: The file is larger than `max_bytes`.
        """
        seal = self._manifest.files.get(name)
        if seal is None:
            raise Refused(f"{self.directory} has no file {name!r}, it has {sorted(self._manifest.files)}")
        if seal.size_bytes > max_bytes:
            raise TooLarge(f"{self.directory / name} has {seal.size_bytes} bytes, at most {max_bytes} are read here")
        try:
            descriptor = open_file(name, self._directory, trusted_owners())
            try:
                content, digest = read_whole(name, descriptor, seal.size_bytes)
            finally:
                os.close(descriptor)
            if digest != seal.digest:
                raise Unsound(f"{name} has {digest}, the manifest says {seal.digest}")
        except Unsound as damage:
            raise self.discard(str(damage)) from damage
        except OSError as error:
            raise unusable(self._place.root, error) from error
        return content

    @property
    def files(self) -> Mapping[str, Seal]:
        """Digest and size of every file, by name, as they were published."""
        return self._manifest.files

    def open_file(self, name: str) -> int:
        """Return a descriptor of one file, for whoever passes on more than fits into memory.

        What is read from it was not checked: its digest must be compared with `files`, and `discard` called where it
        is another one.

        Raises:
            Damaged: The file is missing, or not what a store holds.
            Refused: The entry has no such file.
            Stop: It cannot be opened for a reason of this process's own, such as too many open files.
        """
        if name not in self._manifest.files:
            raise Refused(f"{self.directory} has no file {name!r}, it has {sorted(self._manifest.files)}")
        try:
            return open_file(name, self._directory, trusted_owners())
        except Unsound as damage:
            raise self.discard(str(damage)) from damage
        except OSError as error:
            raise unusable(self._place.root, error) from error

    def verify(self) -> None:
        """Read everything and compare it with the manifest.

        Raises:
            Damaged: Something is not what was published.
            Stop: It cannot be read for a reason of this process's own, such as too many open files.
        """
        try:
            check_all(self._manifest, self._directory)
        except Unsound as damage:
            raise self.discard(str(damage)) from damage
        except OSError as error:
            raise unusable(self._place.root, error) from error

    def close(self) -> None:
        """End the use; a second call does nothing."""
        self._close()

    def __enter__(self) -> Entry:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def discard(self, problem: str) -> Damaged:
        """Put the entry into quarantine, because it was seen to be damaged; return the error that says so."""
        return damaged(self._place, problem, self._discard(problem))


def damaged(place: Place, problem: str, done: str) -> Damaged:
    """Return the error that says what is wrong with an entry and what was done with it."""
    return Damaged(f"{place.kind} {place.key} in {place.root} is damaged: {problem}; {done}")


def open_place(place: Place, owners: frozenset[int] | None = None) -> tuple[int, Manifest]:
    """Return a descriptor of the directory of an entry, and its manifest, after the quick check.

    The quick check covers the manifest, and of a flat entry the exact set of files with their kinds, sizes, owners and
    modes.

    Raises:
        FileNotFoundError: There is no such entry.
        Unsound: The check failed.
    """
    trusted = trusted_owners() if owners is None else owners
    directory = open_directory(place.directory)
    try:
        manifest = read_manifest(place, directory, trusted)
        if manifest.tree is None:
            check_files(manifest, directory, trusted)
        else:
            for name, seal in manifest.files.items():
                check_size(name, seal, directory, trusted)
    except BaseException:
        os.close(directory)
        raise
    return directory, manifest


def check_all(manifest: Manifest, directory: int, owners: frozenset[int] | None = None) -> None:
    """Check every byte of an entry.

    Raises:
        Unsound: Something is not what was published.
    """
    trusted = trusted_owners() if owners is None else owners
    if manifest.tree is not None:
        check_tree(manifest, directory, trusted)
        return
    check_files(manifest, directory, trusted)
    for name, seal in manifest.files.items():
        check_digest(name, seal, directory, trusted)


def find_damage(directory: Path, owners: frozenset[int] | None = None) -> str | None:
    """Return what is wrong with the entry in a directory of a store, or None: every byte is what was published.

    Args:
        directory: `<store>/<kind>/<name>`.
        owners: Users whose files it may hold; None: this process's user and root.
    """
    place = Place(directory.parent.parent, directory.parent.name, directory.name)
    try:
        descriptor, manifest = open_place(place, owners)
        try:
            check_all(manifest, descriptor, owners)
        finally:
            os.close(descriptor)
    except Unsound as damage:
        return str(damage)
    except FileNotFoundError:
        return f"{directory.name} is missing"
    return None


def _close_all(descriptors: list[int]) -> None:
    for descriptor in descriptors:
        os.close(descriptor)
