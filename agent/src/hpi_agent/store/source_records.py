"""What each source gave, so that it need not be fetched again: one sealed JSON file for every source.

    sources/…           the files themselves, entries like all others
    source-records/<digits of the source's key>.json    which entry it gave, under which identity; newest first

A record whose entry is gone is no harm: the source is fetched again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from hpi_agent.store.decisions import read_decision, write_decision
from hpi_agent.store.unusable import unusable

FOLDER: Final = "source-records"

MAX_SEEN: Final = 8
"""Most versions of one source that are remembered."""


@dataclass(frozen=True)
class Seen:
    """One version of a source."""

    identity: str
    """`sha256:<hex>` of what the server called it."""
    entry: str
    """Key of the store's entry in `sources` that has its files."""
    digest: str
    """Digest of the model, as a manifest states it."""


def read_seen(root: Path, source: str) -> tuple[Seen, ...]:
    """Return what a source gave, the newest first; the entries may be gone meanwhile.

    Raises:
        Stop: The store cannot be read.
    """
    try:
        document = read_decision(root, source, folder=FOLDER)
    except OSError as error:
        raise unusable(root, error) from error
    if document is None:
        return ()
    return tuple(Seen(str(one["identity"]), str(one["entry"]), str(one["digest"])) for one in document["seen"])


def write_seen(root: Path, source: str, address: str, seen: Seen) -> None:
    """Remember what a source gives now.

    Raises:
        Stop: The store cannot be written.
    """
    others = [one for one in read_seen(root, source) if one.identity != seen.identity]
    document: Mapping[str, Any] = {
        "address": address,
        "seen": [asdict(one) for one in [seen, *others][:MAX_SEEN]],
    }
    try:
        write_decision(root, source, document, folder=FOLDER)
    except OSError as error:
        raise unusable(root, error) from error
