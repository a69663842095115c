"""Bounds on what one source may bring."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from hpi_agent.models.sources.archive import is_archive
from hpi_agent.models.sources.files import MAX_LISTED, MAX_MODEL_BYTES, MODEL_FILES, ONNX
from hpi_agent.models.sources.protocol import Resolved
from hpi_core.errors import SourceFailed, TooLarge

DEFAULT_TOTAL_BYTES: Final = 8 * 2**30
MAX_FILES: Final = 64
"""Most files of one source: a model has up to seven, and an image some layers."""

ADVICE: Final = "raise $HPI_SOURCE_MAX_BYTES where such models are wanted"


@dataclass(frozen=True)
class Limits:
    """Bounds on the files of one source."""

    total_bytes: int = DEFAULT_TOTAL_BYTES
    """Most bytes of all files; of an archive, of it and of what it holds each."""

    def check(self, address: str, resolved: Resolved) -> None:
        """Refuse what is larger than allowed so far as the origin says, and names that are none of a model's files.

        Raises:
            TooLarge: It is larger.
            SourceFailed: A name is none, or comes twice.
        """
        names = [file.path for file in resolved.files]
        strange = [name for name in names if name not in MODEL_FILES and not (is_archive(name) and _is_plain(name))]
        if not names or len(set(names)) < len(names) or strange:
            raise SourceFailed(
                f"source {address!r} lists {names[:MAX_LISTED]!r}; each of {', '.join(MODEL_FILES)} may come once, and "
                "archives of other names"
            )
        if len(names) > MAX_FILES:
            raise TooLarge(f"source {address!r} has {len(names)} files, at most {MAX_FILES} are allowed")
        for file in resolved.files:
            self.check_size(address, file.path, file.size_bytes or 0)
        total = sum(file.size_bytes or 0 for file in resolved.files)
        if total > self.total_bytes:
            raise TooLarge(f"source {address!r} has {total} bytes, at most {self.total_bytes} are allowed; {ADVICE}")

    def check_size(self, address: str, name: str, size_bytes: int) -> None:
        """Refuse a file that is larger than one of its kind may be.

        Raises:
            TooLarge: It is.
        """
        most = self.most_bytes(name)
        if size_bytes > most:
            advice = "an ONNX file cannot be larger" if most == MAX_MODEL_BYTES else ADVICE
            raise TooLarge(
                f"source {address!r}: {name} has {size_bytes} bytes or more, at most {most} are allowed; {advice}"
            )

    def most_bytes(self, name: str) -> int:
        """Return how large a file of that name may be."""
        return min(MAX_MODEL_BYTES, self.total_bytes) if name == ONNX else self.total_bytes


def _is_plain(name: str) -> bool:
    return "/" not in name and not name.startswith(".") and 0 < len(name.encode()) <= 200 and name.isprintable()


DEFAULT_LIMITS: Final = Limits()
