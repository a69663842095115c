"""The manifest of an entry: what it is, and digest and size of every file.

format      1
kind, key   where the entry belongs: two entries that were exchanged are both damaged
about       what its maker says of it, any JSON
files       by name: digest (sha256:<hex>) and bytes
tree        of a nested tree alone: how many paths, and the bytes of its files (`hpi_agent.store.tree`)
digest      of all this, in canonical JSON
"""

from __future__ import annotations

import os
import stat
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from hpi_agent.store.files import (
    Unsound,
    check_file,
    check_owner,
    digest_of_file,
    digest_of_open_file,
    flush,
    open_file,
    write_flushed,
)
from hpi_agent.store.place import Place
from hpi_agent.store.sealed_json import read_sealed_json, sealed_json
from hpi_core.digest import canonical_json
from hpi_core.errors import Bug, Refused

MANIFEST: Final = "manifest.json"
FORMAT: Final = 1
MAX_MANIFEST_BYTES: Final = 16 * 2**20

WRITABLE_BY_OTHERS: Final = stat.S_IWGRP | stat.S_IWOTH


@dataclass(frozen=True)
class Seal:
    """What a file was when it was published."""

    digest: str
    size_bytes: int


@dataclass(frozen=True)
class TreeTotal:
    """The extent of a nested tree."""

    paths: int
    size_bytes: int


@dataclass(frozen=True)
class Manifest:
    """What an entry says of itself."""

    kind: str
    key: str
    about: Mapping[str, Any]
    files: Mapping[str, Seal]
    tree: TreeTotal | None = None

    @property
    def size_bytes(self) -> int:
        """Bytes of all files, without the manifest itself."""
        return sum(seal.size_bytes for seal in self.files.values()) + (self.tree.size_bytes if self.tree else 0)


def seal_directory(directory: Path, place: Place, about: Mapping[str, Any]) -> None:
    """Flush a directory of regular files to the disk and write its manifest.

    Raises:
        Bug: It holds anything else, or files of somebody else; `about` is not JSON.
        Refused: A file has the manifest's name.
    """
    paths = sorted(directory.iterdir())
    if any(path.is_symlink() or not path.is_file() for path in paths):
        raise Bug(f"only regular files can be published, got {[path.name for path in paths]}")
    refuse_own_name(directory, MANIFEST)
    files = {path.name: seal_file(path) for path in paths}
    write_manifest(directory, Manifest(place.kind, place.key, about, files))


def refuse_own_name(directory: Path, name: str) -> None:
    """Check that nothing has a name that the store needs.

    Raises:
        Refused: There is such a thing.
    """
    if os.path.lexists(directory / name):
        raise Refused(f"{name} is the store's own name; a model must not bring a file of that name")


def seal_file(path: Path) -> Seal:
    """Flush one file and return its seal; group and others lose the right to write it.

    Raises:
        Bug: It belongs to another user.
    """
    seen = path.stat()
    if seen.st_uid != os.geteuid():
        raise Bug(f"{path} belongs to user {seen.st_uid}; what user {os.geteuid()} publishes must be that user's")
    if seen.st_mode & WRITABLE_BY_OTHERS:
        path.chmod(stat.S_IMODE(seen.st_mode) & ~WRITABLE_BY_OTHERS)
    flush(path)
    return Seal(digest_of_file(path), seen.st_size)


def write_manifest(directory: Path, manifest: Manifest) -> None:
    """Write the manifest and flush it and the directory.

    Raises:
        Bug: `about` is not JSON.
    """
    try:
        canonical_json(dict(manifest.about))
    except (TypeError, ValueError) as error:
        raise Bug(f"what is said about {manifest.key} must be JSON: {error}") from error
    document: dict[str, Any] = {
        "format": FORMAT,
        "kind": manifest.kind,
        "key": manifest.key,
        "about": dict(manifest.about),
        "files": {name: {"digest": seal.digest, "bytes": seal.size_bytes} for name, seal in manifest.files.items()},
    }
    if manifest.tree is not None:
        document["tree"] = {"paths": manifest.tree.paths, "bytes": manifest.tree.size_bytes}
    # Whatever the umask: a directory that everybody can write would be damaged from the start.
    directory.chmod(stat.S_IMODE(directory.stat().st_mode) & ~WRITABLE_BY_OTHERS)
    write_flushed(directory / MANIFEST, sealed_json(document))
    flush(directory)


def read_manifest(place: Place, directory: int, owners: Collection[int]) -> Manifest:
    """Return the manifest of an open directory.

    Raises:
        Unsound: The directory is somebody else's, the manifest is damaged, or it belongs to another entry.
    """
    check_owner(place.name, os.fstat(directory), owners)
    document = read_sealed_json(MANIFEST, directory, owners, MAX_MANIFEST_BYTES)
    if document.get("format") != FORMAT:
        raise Unsound(f"{MANIFEST} has format {document.get('format')!r}, this release reads {FORMAT}")
    manifest = _manifest(document)
    if (manifest.kind, manifest.key) != (place.kind, place.key):
        raise Unsound(f"{MANIFEST} belongs to {manifest.kind} {manifest.key}, this is {place.kind} {place.key}")
    return manifest


def check_files(manifest: Manifest, directory: int, owners: Collection[int]) -> None:
    """Check that a flat directory holds exactly the listed files, with their sizes; their content is not read.

    Raises:
        Unsound: It does not, or a file is somebody else's.
    """
    found = set(os.listdir(directory)) - {MANIFEST}
    if found != set(manifest.files):
        raise Unsound(f"holds {sorted(found)}, the manifest lists {sorted(manifest.files)}")
    for name, seal in manifest.files.items():
        check_size(name, seal, directory, owners)


def check_size(name: str, seal: Seal, directory: int, owners: Collection[int]) -> None:
    """Check kind, owner, mode and size of one file.

    Raises:
        Unsound: One of them is wrong.
    """
    try:
        seen = os.stat(name, dir_fd=directory, follow_symlinks=False)
    except FileNotFoundError as error:
        raise Unsound(f"{name} is missing") from error
    check_file(name, seen, owners)
    if seen.st_size != seal.size_bytes:
        raise Unsound(f"{name} has {seen.st_size} bytes, the manifest says {seal.size_bytes}")


def check_digest(name: str, seal: Seal, directory: int, owners: Collection[int]) -> None:
    """Check the content of one file.

    Raises:
        Unsound: It is not what was published.
    """
    descriptor = open_file(name, directory, owners)
    try:
        seen = digest_of_open_file(name, descriptor)
    finally:
        os.close(descriptor)
    if seen != seal.digest:
        raise Unsound(f"{name} has {seen}, the manifest says {seal.digest}")


def _manifest(document: Mapping[str, Any]) -> Manifest:
    try:
        files = {name: Seal(str(seal["digest"]), int(seal["bytes"])) for name, seal in document["files"].items()}
        tree = document.get("tree")
        total = None if tree is None else TreeTotal(int(tree["paths"]), int(tree["bytes"]))
        return Manifest(str(document["kind"]), str(document["key"]), dict(document["about"]), files, total)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise Unsound(f"{MANIFEST} cannot be read: {type(error).__name__} {error}") from error
