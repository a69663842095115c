"""Files of a host that are read for what they may tell: whatever is wrong with one is a note, never an error.

Without what /proc and /sys say of processors no engine can be sized, so `HostFiles` refuses what the kernel never
writes. A broken driver of an accelerator leaves a machine that still computes: its files are read through here.
"""

from __future__ import annotations

import re
from pathlib import PurePosixPath
from typing import Final

from hpi_agent.discovery.host_files import HostFiles, printable, quoted
from hpi_core.errors import Refused

ENVIRONMENT_FILE: Final = "/proc/self/environ"
MAX_WORD_CHARACTERS: Final = 96
"""Longest name or version that is believed."""

_VERSION: Final = "[0-9][0-9A-Za-z.+_-]{0,63}"


class LenientFiles:
    """The files of one host, for readers that go on without them.

    Attributes:
        files: The host; notes are added to it.
    """

    def __init__(self, files: HostFiles) -> None:
        self.files: Final = files

    def note(self, sentence: str) -> None:
        """Remember a sentence for the reader of the result, once."""
        self.files.note(sentence)

    def shown(self, path: str) -> str:
        """Return a host path the way this program sees it, in printable ASCII."""
        return self.files.shown(path)

    def text(self, path: str) -> str | None:
        """Return the text of a file, or None when there is none; what keeps it from being read is noted."""
        try:
            return self.files.read(path)
        except Refused as error:
            self.note(f"{error}; it is left out")
            return None

    def names(self, path: str) -> list[str]:
        """Return the sorted names in a directory; none when there is no such directory, or it cannot be listed."""
        try:
            return self.files.names(path) or []
        except Refused as error:
            self.note(f"{error}; it is left out")
            return []

    def has(self, path: str) -> bool:
        """Return whether a file or directory is there; a link that leads out of the root is not."""
        try:
            return self.files.has(path)
        except Refused:
            return False

    def resolved_name(self, path: str) -> str:
        """Return the last part of a path after all symbolic links; empty when one leads out of the root."""
        try:
            return self.files.resolved_name(path)
        except Refused:
            return ""

    def fields(self, path: str, separator: str) -> dict[str, str]:
        """Return the `name<separator>value` lines of a file, both stripped; the first of equal names counts."""
        fields: dict[str, str] = {}
        for line in (self.text(path) or "").split("\n"):
            name, found, value = line.partition(separator)
            if found:
                fields.setdefault(name.strip(), value.strip())
        return fields

    def version(self, path: str, value: str | None) -> str | None:
        """Return a version that a file states, or None, with a note, where it states something else."""
        if value is None or re.fullmatch(_VERSION, value):
            return value
        self.note(f"{self.shown(path)} says {quoted(value)}, which is no version: it is left out")
        return None

    def environment(self, name: str) -> str | None:
        """Return a variable that this process was started with, as the host's /proc tells it."""
        for line in (self.text(ENVIRONMENT_FILE) or "").split("\0"):
            variable, found, value = line.partition("=")
            if found and variable == name:
                return value
        return None


def word(text: str) -> str | None:
    """Return outside text as one printable name of at most `MAX_WORD_CHARACTERS`; None when nothing is left."""
    return printable(text.strip())[:MAX_WORD_CHARACTERS] or None


def is_inside(path: str) -> bool:
    """Return whether an outside path may be looked up below a root: absolute, and without `..`."""
    return path.startswith("/") and ".." not in PurePosixPath(path).parts and "\0" not in path
