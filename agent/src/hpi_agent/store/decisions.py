"""Remembered decisions: one sealed JSON file per key, replaced as a whole."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from hpi_agent.store.files import Unsound, flush, make_directory, open_directory, trusted_owners, write_flushed
from hpi_agent.store.locks import locked_and_deleted
from hpi_agent.store.place import digits_of
from hpi_agent.store.quarantine import put_in_quarantine
from hpi_agent.store.sealed_json import read_sealed_json, sealed_json
from hpi_core.digest import PREFIX
from hpi_core.errors import Bug, TooLarge

MAX_DECISION_BYTES: Final = 4 * 2**20
FOLDER: Final = "decisions"

_FILE: Final = re.compile(r"([0-9a-f]{64})\.json")

log: Final = logging.getLogger(__name__)


def write_decision(root: Path, key: str, document: Mapping[str, Any], *, folder: str = FOLDER) -> None:
    """Replace a decision; whoever reads meanwhile gets the old one or the new one.

    Raises:
        Bug: The document is not JSON.
        OSError: The store cannot be written.
        TooLarge: The decision would not be read again.
    """
    path, staging, lock = _paths(root, key, folder)
    try:
        content = sealed_json({"key": key, "decision": dict(document)})
    except (TypeError, ValueError) as error:
        raise Bug(f"a decision must be JSON: {error}") from error
    if len(content) > MAX_DECISION_BYTES:
        raise TooLarge(f"the decision {key} has {len(content)} bytes, at most {MAX_DECISION_BYTES} can be kept")
    with locked_and_deleted(lock):
        make_directory(path.parent)
        staging.parent.mkdir(parents=True, exist_ok=True)
        try:
            write_flushed(staging, content)
            staging.replace(path)
        finally:
            staging.unlink(missing_ok=True)
        flush(path.parent)


def read_decision(root: Path, key: str, *, folder: str = FOLDER) -> dict[str, Any] | None:
    """Return a decision, or None when there is none or it was damaged; then it is in quarantine.

    Raises:
        OSError: The store cannot be read.
    """
    path, _, _ = _paths(root, key, folder)
    if not os.path.lexists(path):
        return None
    try:
        return _read(path, key)
    except Unsound as damage:
        done = _discard(root, key, folder)
        log.warning("the decision %s in %s is damaged: %s; %s", key, root, damage, done)
        return None


def all_decisions(root: Path) -> list[dict[str, Any]]:
    """Return every sound decision, in the order of the keys.

    Raises:
        OSError: The store cannot be read.
    """
    found = (read_decision(root, key) for key in decision_keys(root))
    return [decision for decision in found if decision is not None]


def decision_keys(root: Path) -> list[str]:
    """Return the keys of all decisions, sound or not.

    Raises:
        OSError: The store cannot be read.
    """
    try:
        names = sorted(os.listdir(root / FOLDER))
    except (FileNotFoundError, NotADirectoryError):
        return []
    return [PREFIX + matched[1] for name in names if (matched := _FILE.fullmatch(name)) is not None]


def decision_stamp(root: Path, key: str) -> tuple[int, int, int] | None:
    """Return inode, time of modification in nanoseconds and size of a decision, or None when there is none.

    A decision that was replaced has another stamp. One call of the kernel: it may be asked many times a second.
    """
    try:
        seen = os.stat(_paths(root, key, FOLDER)[0], follow_symlinks=False)
    except (FileNotFoundError, NotADirectoryError):
        return None
    return seen.st_ino, seen.st_mtime_ns, seen.st_size


def _paths(root: Path, key: str, folder: str) -> tuple[Path, Path, Path]:
    digits = digits_of(key)
    return (
        root / folder / f"{digits}.json",
        root / "tmp" / f"{folder}-{digits}",
        root / "locks" / f"{folder}-{digits}",
    )


def _read(path: Path, key: str) -> dict[str, Any]:
    owners = trusted_owners()
    directory = open_directory(path.parent)
    try:
        document = read_sealed_json(path.name, directory, owners, MAX_DECISION_BYTES)
    finally:
        os.close(directory)
    if document.get("key") != key:
        raise Unsound(f"{path.name} holds the decision {document.get('key')!r}")
    decision = document.get("decision")
    if not isinstance(decision, dict):
        raise Unsound(f"{path.name} holds no decision")
    return decision


def _discard(root: Path, key: str, folder: str) -> str:
    """Put a damaged decision into quarantine and say what was done."""
    path, _, lock = _paths(root, key, folder)
    try:
        with locked_and_deleted(lock, wait=False):
            try:
                _read(path, key)
            except Unsound as damage:
                if not os.path.lexists(path):
                    return "it has been removed meanwhile"
                return f"it lies in {put_in_quarantine(root, path, folder, str(damage))} now"
            return "a sound one lies in its place meanwhile"
    except BlockingIOError:
        return "another process is replacing it"
    except OSError as error:
        return f"it cannot be put into quarantine ({error.strerror})"
