"""Where an entry lies in a store: its kind, its name, and every path that belongs to it.

    <kind>/<name>               the entry itself, complete or not there
    tmp/<kind>-<name>           where it is written
    tmp/removed.<kind>-<name>   where it waits for its deletion
    locks/<kind>-<name>         held by the one process that makes or replaces it
    uses/<kind>-<name>          shared by everybody who uses it, held by whoever removes it; holds the number of its use
    pins/<kind>-<name>          there when it must stay

Entries of `TREES` are named by words, all others by the SHA-256 of what shaped them.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from hpi_core.digest import PATTERN, PREFIX
from hpi_core.errors import Bug, Refused

ARTIFACTS: Final = ("sources", "models", "converted", "engines")
"""Kinds whose entries are flat directories of files, named by a digest."""

TREES: Final = ("plugins",)
"""Kinds whose entries are nested trees with symbolic links, named by words."""

KINDS: Final = ARTIFACTS + TREES

REMOVED: Final = "removed."
"""Begins the name of what waits in `tmp/` for its deletion; whoever sees it may delete it."""

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}")


@dataclass(frozen=True)
class Place:
    """The paths of one entry.

    Build it with `place_of`, which checks kind and key.
    """

    root: Path
    kind: str
    name: str
    """Name of its directory: the digits of the key, or the words."""

    @property
    def key(self) -> str:
        """What callers name it by: `sha256:<hex>`, or the words of a tree."""
        return self.name if self.kind in TREES else PREFIX + self.name

    @property
    def label(self) -> str:
        """Its name among the entries of all kinds."""
        return f"{self.kind}-{self.name}"

    @property
    def directory(self) -> Path:
        """The entry itself."""
        return self.root / self.kind / self.name

    @property
    def staging(self) -> Path:
        """Where it is written."""
        return self.root / "tmp" / self.label

    @property
    def removal(self) -> Path:
        """Where it waits for its deletion; no writer uses that path."""
        return self.root / "tmp" / f"{REMOVED}{self.label}"

    @property
    def lock(self) -> Path:
        """Held by the one process that makes or replaces the entry."""
        return self.root / "locks" / self.label

    @property
    def use(self) -> Path:
        """Held by everybody who uses the entry."""
        return self.root / "uses" / self.label

    @property
    def pin(self) -> Path:
        """There when the entry must stay."""
        return self.root / "pins" / self.label


def place_of(root: Path, kind: str, key: str) -> Place:
    """Return the paths of an entry.

    Raises:
        Bug: The store has no such kind.
        Refused: The key is not one of that kind; whatever it says, no path outside the store comes of it.
    """
    if kind not in KINDS:
        raise Bug(f"the store has no kind {kind!r}, it has {list(KINDS)}")
    if kind in TREES:
        return Place(root, kind, checked_name(key))
    return Place(root, kind, digits_of(key))


def digits_of(key: str) -> str:
    """Return the hexadecimal digits of a key.

    Raises:
        Refused: It is not `sha256:<64 hex digits>`.
    """
    if not PATTERN.fullmatch(key):
        raise Refused(f"a key of the store is sha256: and 64 hexadecimal digits, got {key!r}")
    return key.removeprefix(PREFIX)


def checked_name(name: str) -> str:
    """Return a name that can stand in a path.

    Raises:
        Refused: It holds anything but letters, digits, dots, dashes and underscores, or more than 200 of them.
    """
    if not _NAME.fullmatch(name):
        raise Refused(
            f"a name in the store begins with a letter or digit and has at most 200 letters, digits, dots, dashes and "
            f"underscores, got {name!r}"
        )
    return name


def places(root: Path) -> list[Place]:
    """Return the entries that are there, sound or not; what has no name of an entry is none."""
    found = []
    for kind in KINDS:
        try:
            names = sorted(os.listdir(root / kind))
        except (FileNotFoundError, NotADirectoryError):
            continue
        for name in names:
            key = name if kind in TREES else PREFIX + name
            pattern = _NAME if kind in TREES else PATTERN
            if pattern.fullmatch(key):
                found.append(Place(root, kind, name))
    return found
