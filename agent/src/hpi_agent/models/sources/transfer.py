"""The bytes of one resolved source, brought to a folder of the store whole and checked; resumed where they ended."""

from __future__ import annotations

import contextlib
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Final

from hpi_agent.models.sources.archive import is_archive, unpack
from hpi_agent.models.sources.fetched import Progress, Tell
from hpi_agent.models.sources.limits import Limits
from hpi_agent.models.sources.link import link_all
from hpi_agent.models.sources.part import boot_id, open_part, write_all
from hpi_agent.models.sources.patience import Patience
from hpi_agent.models.sources.protocol import Body, Changed, Origin, RemoteFile, Resolved
from hpi_agent.store.directory import digest_of_file
from hpi_agent.store.files import flush, write_flushed
from hpi_agent.store.partial import partial_directory
from hpi_agent.store.quarantine import remove_anything
from hpi_core.errors import Bug, Retry, SourceFailed, Stop

PART: Final = ".part"
"""Ends the name of a file that is not whole yet."""

FILES: Final = "files"
"""Folder with the files that are whole, under their names."""

MODEL: Final = "model"
"""Folder with the files of a model that came in archives."""

BOOT: Final = "boot"
"""File that says since which start of which machine the parts are written."""

MAX_WRONG: Final = 2
"""How often a file may come with another digest than the origin states before that is given up."""

SPARE_BYTES: Final = 16 * 2**20
"""Room that is left to everybody else on the disk of the store."""

TELL_SECONDS: Final = 0.5


@dataclass
class Transfer:
    """One download of one version of a source; whoever runs it holds the source's lock.

    Attributes:
        origin: Where it comes from.
        resolved: Which version.
        directory: Where it goes; what lies there is of this version alone.
    """

    origin: Origin
    resolved: Resolved
    directory: Path
    limits: Limits
    patience: Patience
    tell: Tell
    _told_at: float | None = field(default=None, init=False)

    @classmethod
    def begin(
        cls,
        origin: Origin,
        resolved: Resolved,
        place: tuple[Path, str],
        limits: Limits,
        patience: Patience,
        tell: Tell,
    ) -> Transfer:
        """Return a download that goes on where another one of the same version ended.

        Args:
            origin: Where it comes from.
            resolved: Which version.
            place: Root of the store, and `sha256:<hex>` of the source's key.
            limits: How much may come.
            patience: How long it may take.
            tell: Receives the progress.

        Raises:
            OSError: The store cannot be written.
        """
        directory = partial_directory(*place, resolved.identity)
        (directory / FILES).mkdir(exist_ok=True)
        return cls(origin, resolved, directory, limits, patience, tell)

    def remove(self) -> None:
        """Remove what was fetched.

        Raises:
            OSError: It cannot be removed.
        """
        remove_anything(self.directory)

    def remove_what_is_of_no_use(self) -> int:
        """Remove what no next try could go on with; return how many bytes are left.

        Raises:
            OSError: It cannot be removed.
        """
        remove_anything(self.directory / MODEL)
        for file in self.resolved.files:
            if not _is_resumable(file):
                self._part(file).unlink(missing_ok=True)
        left = sum(map(self._have, self.resolved.files))
        if not left:
            self.remove()
        return left

    def run(self) -> Path:
        """Return a folder with exactly the files of the source, or of the archive that it is.

        Raises:
            Changed: The source has changed meanwhile.
            SourceFailed: The origin cannot deliver it, or not what it states.
            Stop: There is no room for it.
            TooLarge: It is larger than allowed.
            OSError: The store cannot be written.
        """
        self._distrust_parts_of_another_boot()
        self._check_room()
        for file in self.resolved.files:
            self._fetch(file)
        self._say(force=True)
        archives = [self._target(file) for file in self.resolved.files if is_archive(file.path)]
        if not archives:
            return self.directory / FILES
        model = self.directory / MODEL
        remove_anything(model)
        model.mkdir()
        link_all(self.directory / FILES, model)
        unpack(archives, model, self.limits.total_bytes)
        return model

    def _distrust_parts_of_another_boot(self) -> None:
        """Throw parts away that were written before the machine stopped, or by another one: they may have holes.

        A digest that the origin states would find them out, so such parts stay; so does what was flushed to the disk.
        """
        try:
            before = (self.directory / BOOT).read_bytes()
        except FileNotFoundError:
            before = b""
        now = boot_id()
        if before != now or not now:
            for file in self.resolved.files:
                if file.digest is None:
                    self._part(file).unlink(missing_ok=True)
            write_flushed(self.directory / BOOT, now)

    def _check_room(self) -> None:
        needed = sum(max(0, (file.size_bytes or 0) - self._have(file)) for file in self.resolved.files)
        free = shutil.disk_usage(self.directory).free
        if needed and needed + SPARE_BYTES > free:
            raise Stop(
                f"there is no room for source {self.origin.address!r} in {self.directory.parent.parent}: {needed} "
                f"bytes are to come, {free} are free and {SPARE_BYTES} of them stay so; make room there (hpi-agent "
                "store gc --max-bytes SIZE), or name another directory with --store DIR or $HPI_STORE"
            )

    def _fetch(self, file: RemoteFile) -> None:
        if self._target(file).is_file():
            return
        attempt, wrong, before = 0, 0, self._have(file)
        while True:
            try:
                self._append(file)
            except Changed:
                raise
            except Retry as error:
                failed = error
            else:
                stated = self._complete(file)
                if stated is None:
                    return
                failed, wrong = Retry(stated), wrong + 1
            have = self._have(file)
            # What is large comes in many pieces: an attempt that got something counts as the first one.
            attempt, before = (1 if have > before else attempt + 1), have
            what = f"source {self.origin.address!r}: {file.path} cannot be fetched"
            if wrong == MAX_WRONG:
                raise SourceFailed(f"{what}: {failed}, {wrong} times; have it corrected there")
            kept = f" ({have} bytes of it are kept for the next try)" if have else ""
            # Somebody who watches the progress must see that it goes on.
            self._say(force=True)
            self.patience.pause(attempt, failed, what + kept)

    def _append(self, file: RemoteFile) -> None:
        """Fetch what is missing of a file.

        Raises:
            Retry: Not all of it came.
        """
        have = self._have(file) if _is_resumable(file) else 0
        if have and have == file.size_bytes:
            return
        with self.origin.open(file, have) as body:
            if body.offset not in (0, have):
                raise Bug(f"{self.origin.address} was asked for byte {have} of {file.path} and gives {body.offset}")
            with open_part(self._part(file)) as stream:
                stream.truncate(body.offset)
                stream.seek(body.offset)
                size = self._copy(file, body, stream)
        if file.size_bytes not in (None, size):
            raise Retry(f"{size} of {file.size_bytes} bytes came")

    def _copy(self, file: RemoteFile, body: Body, stream: IO[bytes]) -> int:
        """Write what comes, and return the size of the file then."""
        size, began = body.offset, self.patience.monotonic()
        at_begin = size
        for chunk in body.chunks:
            size += len(chunk)
            self.limits.check_size(self.origin.address, file.path, size)
            if file.size_bytes is not None and size > file.size_bytes:
                raise SourceFailed(
                    f"source {self.origin.address!r}: more than the {file.size_bytes} bytes of {file.path} come; have "
                    "that corrected there"
                )
            write_all(stream, chunk)
            now = self.patience.monotonic()
            if now - began >= self.patience.stall_seconds:
                if size - at_begin < self.patience.stall_bytes:
                    raise Retry(f"{size - at_begin} bytes came in {now - began:.0f} s")
                began, at_begin = now, size
            self._say()
        return size

    def _complete(self, file: RemoteFile) -> str | None:
        """Give a file its name, or throw it away and return what is wrong with it."""
        part = self._part(file)
        if file.digest is not None and (seen := digest_of_file(part)) != file.digest:
            part.unlink()
            return f"it has {seen}, the origin states {file.digest}"
        flush(part)
        part.rename(self._target(file))
        return None

    def _target(self, file: RemoteFile) -> Path:
        return (self.directory if is_archive(file.path) else self.directory / FILES) / file.path

    def _part(self, file: RemoteFile) -> Path:
        return self.directory / f"{file.path}{PART}"

    def _have(self, file: RemoteFile) -> int:
        for path in (self._target(file), self._part(file)):
            with contextlib.suppress(FileNotFoundError):
                return path.stat().st_size
        return 0

    def _say(self, *, force: bool = False) -> None:
        now = self.patience.monotonic()
        if not force and self._told_at is not None and now - self._told_at < TELL_SECONDS:
            return
        self._told_at = now
        sizes = [file.size_bytes for file in self.resolved.files if file.size_bytes is not None]
        total = sum(sizes) if len(sizes) == len(self.resolved.files) else None
        self.tell(Progress(sum(map(self._have, self.resolved.files)), total))


def _is_resumable(file: RemoteFile) -> bool:
    # Without a size or a tag nobody knows whether what is there belongs to what would come.
    return bool(file.size_bytes) and (file.identity is not None or file.digest is not None)
