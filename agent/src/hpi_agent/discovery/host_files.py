"""Bounded reading of the small text files by which a Linux host describes itself, below one root path."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Final

from hpi_core.errors import Refused, TooLarge

MAX_FILE_BYTES: Final = 4 * 1024 * 1024
"""Largest file that is read: /proc/cpuinfo of 2,000 processors fits. Unit: bytes."""
MAX_ENTRIES: Final = 65_536
"""Most names that are read from one directory."""
MAX_QUOTED_CHARACTERS: Final = 80
"""Longest piece of a file that an error repeats."""


class HostFiles:
    """The files of one host. Paths are the host's own (`/proc/meminfo`), whatever the root.

    Attributes:
        root: Where the host's `/` is found, as given.
        notes: What could not be read or is unusual, one sentence each; readers add to it.
    """

    def __init__(self, root: Path) -> None:
        if not root.is_dir():
            raise Refused(f"host root {printable(str(root))} is not a directory; name the one that holds proc and sys")
        self.root: Final = root
        self.notes: Final[list[str]] = []
        self._real_root: Final = os.path.realpath(root)
        # Below a root of its own, `_locate` has resolved every link; one that appears afterwards is not followed.
        self._open_flags: Final = os.O_NONBLOCK | (0 if self._real_root == "/" else os.O_NOFOLLOW)

    def note(self, sentence: str) -> None:
        """Remember a sentence for the reader of the result, once."""
        if sentence not in self.notes:
            self.notes.append(sentence)

    def shown(self, path: str) -> str:
        """Return a host path the way this program sees it, in printable ASCII."""
        return printable(os.path.join(self.root, path.lstrip("/")))

    def read(self, path: str) -> str | None:
        """Return the text of a file, or None when it is absent or unreadable (the latter is noted).

        Bytes that are not UTF-8 come back as surrogates, so that a cgroup of any name can be found again.

        Raises:
            TooLarge: The file has more than `MAX_FILE_BYTES`.
            Refused: It is no regular file, or a symbolic link leads out of the root.
        """
        location = self._locate(path)
        try:
            with open(location, "rb", opener=self._open_regular) as file:
                content = file.read(MAX_FILE_BYTES + 1)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            self.note(f"{self.shown(path)} cannot be read: {error.strerror}")
            return None
        if len(content) > MAX_FILE_BYTES:
            raise TooLarge(f"{self.shown(path)} has more than the {MAX_FILE_BYTES} bytes allowed; check the host root")
        return content.decode("utf-8", "surrogateescape")

    def read_line(self, path: str) -> str | None:
        """Return the text of a file of one line, without the newline at its end; otherwise like `read`."""
        text = self.read(path)
        return None if text is None else text.removesuffix("\n")

    def names(self, path: str) -> list[str] | None:
        """Return the sorted names in a directory, or None when it is absent or unreadable (the latter is noted).

        Raises:
            TooLarge: The directory has more than `MAX_ENTRIES` names.
            Refused: A symbolic link leads out of the root.
        """
        names: list[str] = []
        try:
            with os.scandir(self._locate(path)) as entries:
                for entry in entries:
                    names.append(entry.name)
                    if len(names) > MAX_ENTRIES:
                        raise TooLarge(f"{self.shown(path)} has more than the {MAX_ENTRIES} names allowed")
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            self.note(f"{self.shown(path)} cannot be listed: {error.strerror}")
            return None
        return sorted(names)

    def has_directory(self, path: str) -> bool:
        """Return whether a directory is there.

        Raises:
            Refused: A symbolic link leads out of the root.
        """
        return os.path.isdir(self._locate(path))

    def has(self, path: str) -> bool:
        """Return whether anything is there, of whatever kind.

        Raises:
            Refused: A symbolic link leads out of the root.
        """
        return os.path.exists(self._locate(path))

    def resolved_name(self, path: str) -> str:
        """Return the last part of a path after all symbolic links.

        Raises:
            Refused: A symbolic link leads out of the root.
        """
        return os.path.basename(os.path.realpath(self._locate(path)))

    @property
    def is_own_machine(self) -> bool:
        """Whether the root is this machine's own `/`, so that its tools and libraries speak of the same machine."""
        return self._real_root == "/"

    def malformed(self, path: str, seen: str, expected: str) -> Refused:
        """Return the error for a file that does not say what the kernel promises."""
        return Refused(f"{self.shown(path)} says {quoted(seen)}; expected {expected}; check the host root")

    def _locate(self, path: str) -> str:
        if "\0" in path:
            raise Refused(f"{self.shown(path)} is no path: it holds a zero byte; check the host root")
        location = os.path.join(self._real_root, path.lstrip("/"))
        if self._real_root == "/":
            return location
        real = os.path.realpath(location)
        if real != self._real_root and not real.startswith(self._real_root + "/"):
            raise Refused(
                f"{self.shown(path)} leads out of the host root to {printable(real)}; "
                "only links that stay inside are followed"
            )
        return real

    def _open_regular(self, location: str, flags: int) -> int:
        # Without O_NONBLOCK a named pipe in a hostile tree would hold this process forever.
        descriptor = os.open(location, flags | self._open_flags)
        if stat.S_ISREG(os.fstat(descriptor).st_mode):
            return descriptor
        os.close(descriptor)
        raise Refused(f"{printable(location)} is not a regular file; expected one; check the host root")


def printable(text: str) -> str:
    """Return a text in printable ASCII, everything else escaped, so that no terminal obeys it."""
    return "".join(c if c.isascii() and c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def quoted(text: str) -> str:
    """Return a piece of outside text for an error: escaped, in quotes, at most `MAX_QUOTED_CHARACTERS` long."""
    stripped = text.strip(" \n")
    cut = stripped[:MAX_QUOTED_CHARACTERS]
    return f"'{printable(cut)}'" + ("..." if len(stripped) > len(cut) else "")
