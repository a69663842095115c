"""Archives of model files, such as PaddleX's own `…_infer.tar`: only files of a model come out of them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final, cast

from hpi_agent.models.sources.files import MODEL_FILES, OM, ONNX
from hpi_core.errors import SourceFailed, TooLarge

if TYPE_CHECKING:
    import tarfile

SUFFIXES: Final = (".tar", ".tar.gz", ".tgz")
MAX_MEMBERS: Final = 10_000
"""Most entries of an archive that are looked at."""

SPARE_BYTES: Final = 64 * 2**20
"""What an archive may have, unpacked, beside twice the bytes of a model: its own headers, and what is passed over."""

CHUNK_BYTES: Final = 1_048_576


def is_archive(name: str) -> bool:
    """Return whether a file's name is one of an archive."""
    return name.endswith(SUFFIXES)


def unpack(archives: Sequence[Path], directory: Path, max_bytes: int) -> None:
    """Unpack the files of a model from archives into a directory; what else they hold is passed over.

    The files may lie in one folder of any name, as in PaddleX's archives. Names, owners, modes and links of an archive
    are never used: each file is written under its known name.

    Args:
        archives: Tar archives, compressed by gzip or not, that together hold one model; at least one.
        directory: Where to; it may hold other files of the model.
        max_bytes: Most bytes of all files that come out.

    Raises:
        SourceFailed: One is no archive, or they hold no file of a model, or files of several models.
        TooLarge: Their files have more bytes than allowed, or one has too many entries.
        OSError: One cannot be read, or a file not be written.
    """
    # Imported where there is an archive: local models need none of it.
    import gzip
    import tarfile
    import zlib

    left = max_bytes
    folders: set[str] = set()
    for archive in archives:
        shown = archive.name
        try:
            with _opened(archive, 2 * max_bytes + SPARE_BYTES) as opened:
                for name, folder, content in _files(shown, opened):
                    folders.add(folder)
                    if len(folders) > 1 or (directory / name).exists():
                        raise SourceFailed(
                            f"{shown} holds files of several models (folders {sorted(folders)}, now {name}); deliver "
                            "one model alone"
                        )
                    left -= _write(content, directory / name, left)
        except (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise SourceFailed(f"{shown} is no whole tar archive: {error}; deliver it again") from error
    if not folders:
        names = ", ".join(archive.name for archive in archives)
        raise SourceFailed(f"{names}: there is none of {', '.join(MODEL_FILES)} in it; deliver another one")


@contextlib.contextmanager
def _opened(archive: Path, max_bytes: int) -> Iterator[tarfile.TarFile]:
    """Open an archive as a stream, and read it to its end: gzip's own check of the content stands there."""
    import gzip
    import tarfile

    with contextlib.ExitStack() as files:
        plain = files.enter_context(archive.open("rb"))
        # Not tarfile's own decompression, which leaves that check out.
        packed = not archive.name.endswith(".tar")
        stream: IO[bytes] = cast("IO[bytes]", files.enter_context(gzip.open(plain))) if packed else plain
        counted = _Counted(archive.name, stream, max_bytes)
        with tarfile.open(fileobj=counted, mode="r|") as opened:  # type: ignore[call-overload]
            yield opened
        while counted.read(CHUNK_BYTES):
            pass


@dataclass
class _Counted:
    """A stream that ends with an error when too much comes out of it, whatever a small archive grows to."""

    name: str
    stream: IO[bytes]
    left: int

    def read(self, size: int) -> bytes:
        piece = self.stream.read(size)
        self.left -= len(piece)
        if self.left < 0:
            raise TooLarge(f"{self.name} has more bytes than allowed when it is unpacked; deliver one model alone")
        return piece


def _files(shown: str, opened: tarfile.TarFile) -> Iterator[tuple[str, str, IO[bytes]]]:
    """Yield name, folder and content of every file of a model."""
    for count, member in enumerate(opened, start=1):
        if count > MAX_MEMBERS:
            raise TooLarge(f"{shown} has more than {MAX_MEMBERS} entries; deliver one with a model alone")
        folder, _, name = member.name.removeprefix("./").rpartition("/")
        name = ONNX if name.endswith(".onnx") and name not in MODEL_FILES else name
        name = OM if name.endswith(".om") and name not in MODEL_FILES else name
        content = opened.extractfile(member) if member.isreg() and name in MODEL_FILES else None
        if content is not None:
            yield name, folder, content


def _write(content: IO[bytes], target: Path, max_bytes: int) -> int:
    written = 0
    with target.open("xb") as file:
        while piece := content.read(CHUNK_BYTES):
            written += len(piece)
            if written > max_bytes:
                raise TooLarge(f"{target.name} and what was unpacked before it have more bytes than allowed here")
            file.write(piece)
    return written
