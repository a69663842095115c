"""Files of a store: flushed to the disk, opened without following anything, read together with their digest."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from collections.abc import Collection
from pathlib import Path
from typing import Final

from hpi_core.digest import PREFIX, digest_of_bytes

CHUNK_BYTES: Final = 1_048_576

_DAMAGE: Final = (errno.ENOENT, errno.ELOOP, errno.ENOTDIR, errno.EISDIR, errno.EIO, errno.ENXIO, errno.ESTALE)
"""Errors that tell of what lies there. Others, such as too many open files, tell of the process that looks."""


class Unsound(Exception):
    """What is wrong with something in the store."""


def digest_of_file(path: Path) -> str:
    """Return `sha256:<hex>` of a file's bytes."""
    with path.open("rb") as file:
        return digest_of_bytes(iter(lambda: file.read(CHUNK_BYTES), b""))


def trusted_owners() -> frozenset[int]:
    """Return whose files are taken for the store's: this process's user, and root."""
    return frozenset({0, os.geteuid()})


def open_directory(path: Path) -> int:
    """Return a descriptor of a directory.

    Raises:
        Unsound: Something else is there, such as a symbolic link.
        FileNotFoundError: Nothing is there.
    """
    try:
        return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        raise
    except OSError as error:
        kind = "a symbolic link" if path.is_symlink() else "not a directory"
        raise _unsound(error, f"{path.name} is {kind}") from error


def open_file(name: str, directory: int, owners: Collection[int]) -> int:
    """Return a descriptor of a regular file of a directory that only its owner can write.

    Raises:
        Unsound: It is missing, something else, or somebody else's.
    """
    try:
        # Without waiting: a named pipe in its place would keep the reader for ever.
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
        descriptor = os.open(name, flags, dir_fd=directory)
    except OSError as error:
        problem = "is missing" if error.errno == errno.ENOENT else "is not a regular file"
        raise _unsound(error, f"{name} {problem}") from error
    try:
        check_file(name, os.fstat(descriptor), owners)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def check_file(name: str, seen: os.stat_result, owners: Collection[int]) -> None:
    """Check kind, owner and mode of a file.

    Raises:
        Unsound: It is not a regular file, belongs to somebody who is not trusted, or everybody can write it.
    """
    if not stat.S_ISREG(seen.st_mode):
        raise Unsound(f"{name} is not a regular file")
    check_owner(name, seen, owners)


def check_owner(name: str, seen: os.stat_result, owners: Collection[int]) -> None:
    """Check owner and mode of anything.

    Raises:
        Unsound: It belongs to somebody who is not trusted, or everybody can write it.
    """
    if seen.st_uid not in owners:
        raise Unsound(f"{name} belongs to user {seen.st_uid}, trusted are {sorted(owners)}")
    if seen.st_mode & stat.S_IWOTH:
        raise Unsound(f"{name} can be written by everybody (mode {stat.S_IMODE(seen.st_mode):o})")


def read_whole(name: str, descriptor: int, size_bytes: int) -> tuple[bytes, str]:
    """Return the content of an open file and the digest of these very bytes.

    Args:
        name: For the text of errors.
        descriptor: At the beginning of the file.
        size_bytes: What the file must have; no more than one byte beyond it is ever read.

    Raises:
        Unsound: It has another size, or cannot be read.
    """
    pieces, left = [], size_bytes
    try:
        # One piece as a rule, for a second copy would cost as much as the digest. The kernel gives 2 GiB at once.
        while left > 0 and (piece := os.read(descriptor, left)):
            pieces.append(piece)
            left -= len(piece)
        longer = bool(os.read(descriptor, 1))
    except OSError as error:
        raise _unsound(error, f"{name} cannot be read: {error.strerror}") from error
    if left or longer:
        seen_bytes = os.fstat(descriptor).st_size
        raise Unsound(f"{name} has {seen_bytes} bytes, the manifest says {size_bytes}")
    content = pieces[0] if len(pieces) == 1 else b"".join(pieces)
    return content, PREFIX + hashlib.sha256(content).hexdigest()


def digest_of_open_file(name: str, descriptor: int) -> str:
    """Return the digest of what is left of an open file.

    Raises:
        Unsound: It cannot be read.
    """
    try:
        return digest_of_bytes(iter(lambda: os.read(descriptor, CHUNK_BYTES), b""))
    except OSError as error:
        raise _unsound(error, f"{name} cannot be read: {error.strerror}") from error


def flush(path: Path) -> None:
    """Wait until a file or directory is on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_directory(path: Path) -> None:
    """Make a directory and those above it unless it is there, and wait until it is on the disk."""
    if not path.is_dir():
        path.mkdir(parents=True, exist_ok=True)
        flush(path.parent)


def write_flushed(path: Path, content: bytes) -> None:
    """Write a new file and wait until it is on the disk; everybody may read it, its owner may write it."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
    with open(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _unsound(error: OSError, problem: str) -> Exception:
    return Unsound(problem) if error.errno in _DAMAGE else error
