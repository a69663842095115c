"""Files of a cache, each beside the digest it had when it was complete.

OpenVINO loads a compiled model whose bytes have changed and answers wrongly (2026.4.1: 50 bytes overwritten in a blob,
largest difference 4e-2 on probabilities, no message), so nothing is loaded that does not match its seal.
"""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Final

from hpi_agent.store.directory import digest_of_file

SEAL: Final = ".sha256"


def seal_files(directory: Path, pattern: str) -> None:
    """Write the digest of every file that has none beside it."""
    for path in directory.glob(pattern):
        seal = path.with_name(path.name + SEAL)
        if not seal.exists():
            partial = seal.with_name(seal.name + ".partial")
            # Another process may have removed the file meanwhile: then there is nothing to seal.
            with contextlib.suppress(FileNotFoundError):
                partial.write_text(digest_of_file(path), encoding="ascii")
                partial.replace(seal)


def remove_unsealed_files(directory: Path, pattern: str) -> list[Path]:
    """Remove and return every file whose digest is missing or differs: cut short, damaged, or still being written.

    Removing a file that another process reads or writes is harmless: that process keeps it until it closes it.
    """
    removed = []
    for path in sorted(directory.glob(pattern)):
        seal = path.with_name(path.name + SEAL)
        if not _is_sealed(path, seal):
            path.unlink(missing_ok=True)
            seal.unlink(missing_ok=True)
            removed.append(path)
    return removed


def _is_sealed(path: Path, seal: Path) -> bool:
    try:
        return seal.read_text(encoding="ascii") == digest_of_file(path)
    except (FileNotFoundError, UnicodeDecodeError):
        return False
