"""Nested trees with symbolic links, such as Python environments: sealed path by path.

`manifest.paths.json` lists every path, and the manifest seals that list. Opening a tree reads the manifest alone:
a gigabyte in twenty thousand files cannot be read before each use. `check_tree` reads all of it.
"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from hpi_agent.store.files import Unsound, check_file, check_owner, flush, open_file, read_whole, write_flushed
from hpi_agent.store.manifest import (
    MANIFEST,
    WRITABLE_BY_OTHERS,
    Manifest,
    Seal,
    TreeTotal,
    check_digest,
    refuse_own_name,
    seal_file,
    write_manifest,
)
from hpi_agent.store.place import Place
from hpi_core.digest import digest_of_bytes
from hpi_core.errors import Bug

PATHS: Final = "manifest.paths.json"

MAX_PATHS_BYTES: Final = 128 * 2**20
"""Largest list of paths that is read; twenty thousand files make about 3 MB."""


def seal_tree(directory: Path, place: Place, about: Mapping[str, Any]) -> None:
    """Flush a tree to the disk and write its list of paths and its manifest.

    Raises:
        Bug: It holds a thing that is neither file, directory nor link, a link that leads out of it by a relative path
            or back to where the tree is being written, or a file of somebody else; `about` is not JSON.
        Refused: A path has a name of the store's own.
    """
    for name in (MANIFEST, PATHS):
        refuse_own_name(directory, name)
    # One call for the whole disk, and then only a look at each file: flushing 3,000 new files one by one took 7 s,
    # this 1 s (ext4, November 2026). The later look is what reports a failed write.
    os.sync()
    listed = dict(_sealed_paths(directory))
    size_bytes = sum(record.get("bytes", 0) for record in listed.values())
    content = json.dumps(listed, indent=0, sort_keys=True).encode("ascii")
    write_flushed(directory / PATHS, content)
    files = {PATHS: Seal(digest_of_bytes([content]), len(content))}
    write_manifest(directory, Manifest(place.kind, place.key, about, files, TreeTotal(len(listed), size_bytes)))


def check_tree(manifest: Manifest, directory: int, owners: Collection[int]) -> None:
    """Check every path of a tree, and every byte.

    Raises:
        Unsound: Something is missing, added or changed.
    """
    listed = _read_paths(manifest, directory, owners)
    seen = set()
    for path, name, folder in _walk(directory, owners):
        seen.add(path)
        if path not in listed:
            raise Unsound(f"{path} is there, the manifest does not list it")
        _check_path(path, name, folder, listed[path], owners)
    if missing := sorted(set(listed) - seen):
        raise Unsound(f"{missing[0]} is missing{f', and {len(missing) - 1} more' if len(missing) > 1 else ''}")


def _sealed_paths(directory: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    for folder, directories, files in os.walk(directory, onerror=_raise):
        for name in sorted([*directories, *files]):
            path = Path(folder, name)
            yield path.relative_to(directory).as_posix(), _record(path, directory)
        flush(Path(folder))


def _record(path: Path, top: Path) -> dict[str, Any]:
    seen = path.lstat()
    if stat.S_ISLNK(seen.st_mode):
        return {"link": _checked_target(path, top)}
    if stat.S_ISDIR(seen.st_mode):
        path.chmod(stat.S_IMODE(seen.st_mode) & ~WRITABLE_BY_OTHERS)
        return {"directory": True}
    if not stat.S_ISREG(seen.st_mode):
        raise Bug(f"{path} is neither file, directory nor link, and cannot be published")
    seal = seal_file(path)
    return {"digest": seal.digest, "bytes": seal.size_bytes, "executable": bool(seen.st_mode & stat.S_IXUSR)}


def _checked_target(path: Path, top: Path) -> str:
    target = os.readlink(path)
    if os.path.isabs(target):
        leaves = Path(target).is_relative_to(top)
    else:
        leaves = not Path(os.path.normpath(path.parent / target)).is_relative_to(top)
    if leaves:
        raise Bug(f"the link {path} leads to {target}; it must lead inside the tree, or by an absolute path outside it")
    return target


def _read_paths(manifest: Manifest, directory: int, owners: Collection[int]) -> dict[str, dict[str, Any]]:
    seal = manifest.files.get(PATHS)
    if seal is None or seal.size_bytes > MAX_PATHS_BYTES:
        raise Unsound(f"the manifest lists {'no' if seal is None else 'too large a'} {PATHS}")
    descriptor = open_file(PATHS, directory, owners)
    try:
        content, digest = read_whole(PATHS, descriptor, seal.size_bytes)
    finally:
        os.close(descriptor)
    if digest != seal.digest:
        raise Unsound(f"{PATHS} has {digest}, the manifest says {seal.digest}")
    listed: dict[str, dict[str, Any]] = json.loads(content)
    return listed


def _walk(directory: int, owners: Collection[int]) -> Iterator[tuple[str, str, int]]:
    """Yield path, name and descriptor of the folder of everything below a directory, the store's own files left out."""
    for folder, directories, files, descriptor in os.fwalk(".", dir_fd=directory, onerror=_raise):
        check_owner(folder, os.fstat(descriptor), owners)
        for name in [*directories, *files]:
            path = os.path.normpath(os.path.join(folder, name))
            if path not in (MANIFEST, PATHS):
                yield path, name, descriptor


def _check_path(path: str, name: str, folder: int, record: Mapping[str, Any], owners: Collection[int]) -> None:
    seen = os.stat(name, dir_fd=folder, follow_symlinks=False)
    if stat.S_ISLNK(seen.st_mode):
        target = os.readlink(name, dir_fd=folder)
        if target != record.get("link"):
            raise Unsound(f"{path} is a link to {target}, the manifest says {_expected(record)}")
    elif stat.S_ISDIR(seen.st_mode):
        if "directory" not in record:
            raise Unsound(f"{path} is a directory, the manifest says {_expected(record)}")
    elif "digest" not in record:
        raise Unsound(f"{path} is a file, the manifest says {_expected(record)}")
    else:
        _check_content(path, name, folder, record, owners)


def _check_content(path: str, name: str, folder: int, record: Mapping[str, Any], owners: Collection[int]) -> None:
    seen = os.stat(name, dir_fd=folder, follow_symlinks=False)
    check_file(path, seen, owners)
    if seen.st_size != record["bytes"]:
        raise Unsound(f"{path} has {seen.st_size} bytes, the manifest says {record['bytes']}")
    if bool(seen.st_mode & stat.S_IXUSR) != record["executable"]:
        raise Unsound(f"{path} has mode {stat.S_IMODE(seen.st_mode):o}, the manifest says {_expected(record)}")
    try:
        check_digest(name, Seal(record["digest"], record["bytes"]), folder, owners)
    except Unsound as damage:
        raise Unsound(f"in {os.path.dirname(path) or '.'}: {damage}") from damage


def _expected(record: Mapping[str, Any]) -> str:
    if "link" in record:
        return f"a link to {record['link']}"
    if "directory" in record:
        return "a directory"
    return "an executable file" if record["executable"] else "a file"


def _raise(error: OSError) -> None:
    raise error
