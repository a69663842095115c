"""Taking an entry into use, and putting a damaged one out of the way."""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Final

from hpi_agent.store.entry import Damaged, Entry, damaged, open_place
from hpi_agent.store.files import Unsound
from hpi_agent.store.locks import READ_ONLY, locked_and_deleted, take_lock
from hpi_agent.store.place import Place
from hpi_agent.store.quarantine import put_in_quarantine
from hpi_agent.store.unusable import advice_for
from hpi_agent.store.uses import number_use

log: Final = logging.getLogger(__name__)


def open_entry(place: Place) -> Entry | None:
    """Return an entry in use, or None when there is none, or it was damaged and is now in quarantine.

    Raises:
        OSError: The store cannot be read.
    """
    try:
        return _take(place, counts=True)
    except Damaged:
        # It has been logged.
        return None


def verify_entry(place: Place) -> str | None:
    """Read every byte of an entry; return what was found damaged and done about it, None when it is sound or gone.

    This is no use: it leaves the order in which entries are collected as it is.

    Raises:
        OSError: The store cannot be read.
        Stop: A file cannot be read for a reason of this process's own.
    """
    try:
        entry = _take(place, counts=False)
        if entry is not None:
            with entry:
                entry.verify()
    except Damaged as damage:
        return str(damage)
    return None


def _take(place: Place, *, counts: bool) -> Entry | None:
    if not os.path.lexists(place.directory):
        return None
    with contextlib.ExitStack() as opened:
        use = begin_use(place)
        if use is not None:
            opened.callback(os.close, use)
        try:
            directory, manifest = open_place(place)
        except FileNotFoundError:
            return None
        except Unsound as found:
            done = _discard(place, lambda: find_quickly(place) is not None, str(found))
            raise damaged(place, str(found), done) from found
        if use is not None and counts:
            number_use(place.use, use)
        # From here on the entry closes what was opened.
        opened.pop_all()
    descriptors = [directory] if use is None else [directory, use]
    still_there = partial(_is_at, place.directory, directory)
    return Entry(place, descriptors, manifest, partial(_discard, place, still_there))


def begin_use(place: Place) -> int | None:
    """Return the lock that marks an entry as in use, None where it cannot be had.

    Raises:
        OSError: The store cannot be read.
    """
    try:
        return take_lock(place.use, shared=True)
    except FileNotFoundError:
        pass
    except OSError as error:
        if error.errno not in READ_ONLY:
            raise
    log.warning("%s %s cannot be marked as in use: %s cannot be written", place.kind, place.key, place.root)
    return None


def find_quickly(place: Place) -> str | None:
    """Return what the quick check finds wrong with an entry, or None.

    Raises:
        OSError: The store cannot be read.
    """
    try:
        directory, _ = open_place(place)
    except Unsound as damage:
        return str(damage)
    except FileNotFoundError:
        return f"{place.name} is missing"
    os.close(directory)
    return None


def put_away(place: Place, problem: str) -> str:
    """Put a damaged entry into quarantine, whose lock the caller holds; log and return what was done.

    Raises:
        OSError: It cannot be moved.
    """
    where = put_in_quarantine(place.root, place.directory, place.label, problem)
    return _logged(place, problem, f"it lies in {where} now")


def _discard(place: Place, is_still_damaged: Callable[[], bool], problem: str) -> str:
    try:
        # Without waiting: whoever holds it may build for minutes, and replaces what is damaged anyhow.
        with locked_and_deleted(place.lock, wait=False):
            if not os.path.lexists(place.directory):
                return _logged(place, problem, "it has been removed meanwhile")
            if not is_still_damaged():
                return _logged(place, problem, "another one lies in its place meanwhile")
            return put_away(place, problem)
    except BlockingIOError:
        return _logged(place, problem, "another process is replacing it")
    except OSError as error:
        why = f"it cannot be put into quarantine ({error.strerror})"
        return _logged(place, problem, f"{why}; {advice_for(error)}, or delete it there")


def _logged(place: Place, problem: str, done: str) -> str:
    log.warning("%s %s in %s is damaged: %s; %s", place.kind, place.key, place.root, problem, done)
    return done


def _is_at(path: Path, directory: int) -> bool:
    try:
        return os.path.samestat(os.stat(path, follow_symlinks=False), os.fstat(directory))
    except FileNotFoundError:
        return False
