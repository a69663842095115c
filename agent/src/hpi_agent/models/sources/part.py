"""A file that is not whole yet: written so that whatever has come is there, whenever the process ends."""

from __future__ import annotations

import os
from pathlib import Path
from typing import IO, Final

BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")


def open_part(part: Path) -> IO[bytes]:
    """Return a file to write into, with what is in it already.

    Raises:
        OSError: It cannot be opened, or is a symbolic link.
    """
    # Unbuffered: what has come is in the file when the process is killed, and its size tells the progress.
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
    return open(descriptor, "wb", buffering=0)


def write_all(stream: IO[bytes], chunk: bytes) -> None:
    """Write a chunk whole.

    Raises:
        OSError: There is no room for all of it; some of it may be there.
    """
    # A disk without room for all of it takes a part, and fails only when it is given the rest.
    left = memoryview(chunk)
    while left:
        left = left[stream.write(left) :]


def boot_id() -> bytes:
    """Return what tells this start of this machine from every other one; empty where nothing does."""
    try:
        return BOOT_ID.read_bytes()
    except OSError:
        return b""
