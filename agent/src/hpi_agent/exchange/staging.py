"""Blobs that pods send: each into a file of its own, under its digest once that is right, until they are an entry.

    tmp/partial.<entry>.<tenant>/<digits of the digest>     complete, checked
    tmp/partial.<entry>.<tenant>/coming                     what comes now; gone when it is cut

Whoever sends to an entry holds it meanwhile, so that one file is written once.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from hpi_agent.exchange.limits import Limits
from hpi_agent.store.directory import Store
from hpi_agent.store.partial import HOLD, list_partials, partial_directory, remove_partials, short
from hpi_agent.store.quarantine import remove_anything
from hpi_agent.store.unusable import unusable
from hpi_core.digest import PREFIX, digest_of_json
from hpi_core.errors import Overloaded, Refused, Retry, Stop, TooLarge

COMING: Final = "coming"
RETRY_SECONDS: Final = 2
MODE: Final = 0o644


class Mismatch(Refused):
    """The bytes that came are not those that were announced: something on the way changed or cut them."""


@dataclass
class Incoming:
    """One blob while it comes. Its methods block: call them from a thread."""

    digest: str
    size_bytes: int
    _path: Path
    _descriptor: int
    _state: Any
    _received: int = 0

    def write(self, piece: bytes) -> None:
        """Take the next piece.

        Raises:
            Mismatch: There is more than was announced.
            OSError: It cannot be written.
        """
        self._received += len(piece)
        if self._received > self.size_bytes:
            raise Mismatch(f"more than the {self.size_bytes} announced bytes came")
        self._state.update(piece)
        view = memoryview(piece)
        while view:
            view = view[os.write(self._descriptor, view) :]

    def finish(self) -> None:
        """Give it its name, if its bytes are right.

        Raises:
            Mismatch: They are not.
        """
        seen = PREFIX + self._state.hexdigest()
        if self._received != self.size_bytes or seen != self.digest:
            raise Mismatch(
                f"{self._received} bytes with {seen} came, {self.size_bytes} with {self.digest} were announced; send "
                "it again"
            )
        self._path.rename(self._path.with_name(self.digest.removeprefix(PREFIX)))


@dataclass(frozen=True)
class Staging:
    """Where blobs wait for the rest of their entry."""

    store: Store
    limits: Limits

    def alone(self, place: str) -> AbstractContextManager[None]:
        """Be the only one who sends to an entry.

        Args:
            place: Key of the entry in the node's store.

        Raises:
            Retry: Somebody else does.
        """
        return self.store.hold(HOLD + short(place), wait=False)

    @contextlib.contextmanager
    def receive(self, place: str, tenant: Mapping[str, Any], digest: str, size_bytes: int) -> Iterator[Incoming | None]:
        """Yield where a blob is written to, or None: it is there. Without `finish` nothing is left of it.

        Raises:
            Overloaded: The tenant has begun too many entries, or somebody else sends to this one.
            Stop: There is no room for it.
            TooLarge: It is larger than a blob may be.
        """
        if size_bytes > self.limits.blob_bytes:
            raise TooLarge(f"the blob has {size_bytes} bytes; at most {self.limits.blob_bytes} are kept")
        with contextlib.ExitStack() as stack:
            try:
                stack.enter_context(self.alone(place))
            except Retry as error:
                raise Overloaded(f"somebody else sends to that entry now: {error}", RETRY_SECONDS) from error
            # Every failure of the kernel is told as the store's: its cause says whether the volume is full.
            stack.enter_context(self._stopping())
            self._check_room(size_bytes)
            remove_partials(self.store.root, older_than_seconds=self.limits.staged_seconds)
            directory = self._directory(place, tenant)
            stack.callback(_remove_if_empty, directory)
            if (directory / digest.removeprefix(PREFIX)).exists():
                yield None
                return
            path = directory / COMING
            stack.callback(path.unlink, missing_ok=True)
            flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
            descriptor = os.open(path, flags, MODE)
            stack.callback(os.close, descriptor)
            yield Incoming(digest, size_bytes, path, descriptor, hashlib.sha256())

    def blob(self, place: str, tenant: Mapping[str, Any], digest: str, size_bytes: int) -> Path:
        """Return the file of a complete blob.

        Raises:
            Refused: It did not come yet, or has another size.
        """
        path = _path(self.store.root, place, tenant) / digest.removeprefix(PREFIX)
        if not path.is_file() or path.stat().st_size != size_bytes:
            raise Refused(f"the blob {digest} with {size_bytes} bytes did not come yet; send it first")
        return path

    def clear(self, place: str) -> None:
        """Remove what was sent to an entry; the caller is `alone` with it."""
        label = _label(place)
        for path in list_partials(self.store.root):
            if path.name.startswith(label):
                remove_anything(path)

    def _directory(self, place: str, tenant: Mapping[str, Any]) -> Path:
        begun = {path.name for path in list_partials(self.store.root) if path.name.endswith(_suffix(tenant))}
        path = _path(self.store.root, place, tenant)
        if path.name not in begun and len(begun) >= self.limits.staged_entries:
            raise Overloaded(
                f"{len(begun)} entries of this tenant are begun and not published; at most "
                f"{self.limits.staged_entries} may be",
                int(self.limits.staged_seconds),
            )
        return partial_directory(self.store.root, place, digest_of_json(dict(tenant)))

    def _check_room(self, size_bytes: int) -> None:
        self.store.root.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(self.store.root).free
        if size_bytes + self.limits.free_bytes > free:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self.store.root))

    @contextlib.contextmanager
    def _stopping(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            # Without a number it is none of the kernel's: asyncio's TimeoutError is an OSError, too (Python 3.11).
            if error.errno is None:
                raise
            raise unusable(self.store.root, error) from error


def is_full(error: Stop) -> bool:
    """Say whether an error of the store means that its volume, or a quota there, is full."""
    return isinstance(error.__cause__, OSError) and error.__cause__.errno in (errno.ENOSPC, errno.EDQUOT)


def _label(place: str) -> str:
    return f"partial.{short(place)}."


def _suffix(tenant: Mapping[str, Any]) -> str:
    return "." + short(digest_of_json(dict(tenant)))


def _path(root: Path, place: str, tenant: Mapping[str, Any]) -> Path:
    return root / "tmp" / (_label(place)[:-1] + _suffix(tenant))


def _remove_if_empty(directory: Path) -> None:
    with contextlib.suppress(OSError):
        directory.rmdir()
