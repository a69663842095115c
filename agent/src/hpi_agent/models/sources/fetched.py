"""What becomes of a source: its files on this machine, and how far they have come."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from hpi_agent.models.sources.files import Located

Check = Callable[[Path], str]
"""Returns the digest of the model in a directory; raises Refused when it is not the one that is wanted."""


@dataclass(frozen=True)
class Fetched:
    """What a source gave."""

    located: Located
    """Where it lies."""
    notes: tuple[str, ...] = ()
    """What a person should know, one sentence each."""


@dataclass(frozen=True)
class Progress:
    """How far a download is."""

    done_bytes: int
    total_bytes: int | None
    """None: the server does not say."""
    is_waiting: bool = False
    """Whether another process fetches the same source, and this one waits for it."""


Tell = Callable[[Progress], None]


def tell_nobody(_: Progress) -> None:
    """Tell nobody of any progress."""
