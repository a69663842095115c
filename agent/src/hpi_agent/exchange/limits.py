"""What pods may ask of an agent, and what an agent may ask of its memory: a number for everything."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class Limits:
    """Bounds of one server."""

    connections: int = 64
    """Open at once; the next one is answered 503."""
    head_seconds: float = 5.0
    """From a connection, or the first byte of a further request, to the end of its head."""
    idle_seconds: int = 75
    """How long a connection stays open between two requests: longer than the minute between two reports."""
    body_seconds: float = 10.0
    """How long a JSON body may take to arrive."""
    answer_seconds: float = 30.0
    """How long working out an answer may take; the API server may be asked meanwhile."""
    silence_seconds: float = 10.0
    """Between two pieces of a blob, in either direction."""
    slowest_bytes_a_second: int = 2**20
    """Rate below which a blob is given up, after `silence_seconds` that every blob has."""
    blob_bytes: int = 2 * 2**30
    """Largest file of an entry."""
    entry_bytes: int = 8 * 2**30
    """Largest entry."""
    entry_files: int = 64
    """Most files of an entry."""
    uploads: int = 4
    """Blobs that are taken in at once."""
    uploads_of_pod: int = 2
    """Of them from one pod."""
    requests_of_pod: int = 8
    """Requests of one pod in service at once."""
    identifications: int = 8
    """Tokens that are looked at at once."""
    staged_entries: int = 8
    """Entries of one tenant that are begun and not published."""
    staged_seconds: float = 600.0
    """How long an entry that was begun waits for its next blob."""
    free_bytes: int = 64 * 2**20
    """Room on the volume that is left alone."""

    def blob_seconds(self, size_bytes: int) -> float:
        """Return how long a blob of so many bytes may take."""
        return self.silence_seconds + size_bytes / self.slowest_bytes_a_second


DEFAULT_LIMITS: Final = Limits()
