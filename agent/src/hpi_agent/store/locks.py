"""Locks on files of the store, which the kernel frees when their holder dies.

`flock` is used and not `fcntl` locks: those are lost when any descriptor of the file is closed by the same process. A
lock belongs to the open file, so a child that was forked, and did not start another program, holds it too.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

READ_ONLY: Final = (errno.EROFS, errno.EACCES, errno.EPERM)


def take_lock(path: Path, *, shared: bool = False, wait: bool = True) -> int:
    """Return a descriptor of a file that is locked until the descriptor is closed; the file is made when missing.

    Raises:
        BlockingIOError: Somebody else holds it and `wait` is false.
        OSError: The file cannot be made or opened.
    """
    operation = (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | (0 if wait else fcntl.LOCK_NB)
    while True:
        descriptor = _open(path, shared=shared)
        try:
            fcntl.flock(descriptor, operation)
            if _is_still_at(path, descriptor):
                return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        # Whoever held it has deleted the file: its lock says nothing to those who open the path now.
        os.close(descriptor)


@contextlib.contextmanager
def locked(path: Path, *, shared: bool = False, wait: bool = True) -> Iterator[None]:
    """Hold a lock; see `take_lock`."""
    descriptor = take_lock(path, shared=shared, wait=wait)
    try:
        yield
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def locked_and_deleted(path: Path, *, wait: bool = True) -> Iterator[None]:
    """Hold a lock whose file goes with it, for a name that nobody needs any more."""
    descriptor = take_lock(path, wait=wait)
    try:
        yield
    finally:
        try:
            # While it is held nobody else can have made a new file of that name.
            path.unlink(missing_ok=True)
        finally:
            os.close(descriptor)


def is_held(path: Path) -> bool:
    """Return whether anybody holds a lock; two who ask at the same moment may see each other."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def _open(path: Path, *, shared: bool) -> int:
    flags = os.O_CLOEXEC | os.O_NOFOLLOW
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return os.open(path, flags | os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        # A store that cannot be written can be used, so long as the file is there.
        if not shared or error.errno not in READ_ONLY:
            raise
        return os.open(path, flags | os.O_RDONLY)


def _is_still_at(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(os.stat(path, follow_symlinks=False), os.fstat(descriptor))
    except FileNotFoundError:
        return False
