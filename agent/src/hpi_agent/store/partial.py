"""What is being fetched into the store: kept when its process dies, so that the next one goes on where it ended.

    tmp/partial.<source>.<identity>/

Publications clear `tmp/` of what writers that died have left, and spare these. Whoever fetches a source holds the lock
`fetch-<source>` (`Store.hold`); what belongs to another version of that source goes when it is fetched anew.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from hpi_agent.store.locks import locked_and_deleted
from hpi_agent.store.quarantine import remove_anything
from hpi_core.digest import PREFIX

PARTIAL: Final = "partial."
"""Begins the name of what is being fetched."""

HOLD: Final = "fetch-"
"""Begins the name that `Store.hold` is given by whoever fetches a source."""

DIGITS: Final = 32
"""Hexadecimal digits of source and identity in a name: enough that no two of one store are ever equal."""

KEPT_SECONDS: Final = 7 * 86_400
"""How long what nobody goes on with is kept."""


def short(digest: str) -> str:
    """Return the short form of a digest `sha256:<hex>` for names."""
    return digest.removeprefix(PREFIX)[:DIGITS]


def partial_directory(root: Path, source: str, identity: str | None) -> Path:
    """Return where one version of a source is fetched to, made when it is missing; other versions of it are removed.

    The caller holds `fetch-<source>`.

    Args:
        root: Of the store.
        source: `sha256:<hex>` of what tells the source from others.
        identity: `sha256:<hex>` of what it has now; None: nobody knows, so it begins empty.

    Raises:
        OSError: The store cannot be written.
    """
    label = f"{PARTIAL}{short(source)}."
    directory = root / "tmp" / (label + ("unknown" if identity is None else short(identity)))
    for other in list_partials(root):
        if other.name.startswith(label) and (other != directory or identity is None):
            remove_anything(other)
    directory.mkdir(parents=True, exist_ok=True)
    return directory


def remove_partials(root: Path, *, older_than_seconds: float = 0.0) -> int:
    """Remove what was being fetched and nobody goes on with; return its bytes.

    Args:
        root: Of the store.
        older_than_seconds: Age below which it is kept, by its last change.

    Raises:
        OSError: Something cannot be removed.
    """
    removed = 0
    for path in list_partials(root):
        source = path.name.removeprefix(PARTIAL).partition(".")[0]
        lock = root / "locks" / f"hold.{HOLD}{source}"
        # Whoever holds it goes on; what vanishes meanwhile is gone, as was wanted.
        with contextlib.suppress(BlockingIOError, FileNotFoundError), locked_and_deleted(lock, wait=False):
            seen = [Path(folder, name).stat() for folder, _, names in os.walk(path) for name in names]
            newest = max([path.stat().st_mtime, *(one.st_mtime for one in seen)])
            if time.time() - newest >= older_than_seconds:
                remove_anything(path)
                removed += sum(one.st_size for one in seen)
    return removed


def list_partials(root: Path) -> Iterator[Path]:
    """Yield what was being fetched or still is."""
    try:
        names = sorted(os.listdir(root / "tmp"))
    except (FileNotFoundError, NotADirectoryError):
        return
    yield from (root / "tmp" / name for name in names if name.startswith(PARTIAL))
