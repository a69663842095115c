"""What pip says while it works, and why it failed."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from hpi_agent.plugins.variants import LockedList
from hpi_core.errors import SourceFailed

MAX_REASON_LINES: Final = 12
_FETCHING: Final = re.compile(r"^Collecting (?P<name>[\w.-]+)==(?P<version>\S+)")
_TAKING: Final = re.compile(r"^Processing (?:.*/)?(?P<name>[\w.]+)-(?P<version>[^-/]+)-[^/]*\.whl")
"""A package from an index, and one from a folder."""
_RETRYING: Final = "WARNING: Retrying"
_NOISE: Final = ("Looking in ", "Collecting ", "Downloading ", "Processing ", "Using cached ")


class PipReader:
    """Turns the lines of `pip install` into steps."""

    def __init__(self, packages: int, say: Callable[[str, Mapping[str, Any]], None]) -> None:
        self._packages = packages
        self._say = say
        self._number = 0

    def read_line(self, line: str) -> None:
        """Read one line; say which package is fetched, and when all are there."""
        if match := _FETCHING.match(line) or _TAKING.match(line):
            self._number += 1
            facts = {
                "package": match["name"],
                "version": match["version"],
                "number": self._number,
                "of": self._packages,
            }
            self._say("fetching", facts)
        elif line.startswith("Installing collected packages"):
            self._say("unpacking", {"packages": self._packages})


def failure_of(lines: Sequence[str], locked: LockedList, wheelhouse: Path | None) -> SourceFailed:
    """Return why pip could not install a list, in its own words, and what to do.

    Args:
        lines: The last lines that pip wrote.
        locked: The list.
        wheelhouse: Where the wheels should have come from; None: an index.
    """
    text = "\n".join(lines)
    reason = "\n".join(f"  {line.strip()}" for line in _reason(lines))
    place = f"the wheelhouse {wheelhouse}" if wheelhouse is not None else "the index that pip is set up for"
    if "DO NOT MATCH THE HASHES" in text:
        said = f"{place} has another file than the one that {locked.name} was made with; nothing was installed"
        advice = "Use an index or a wheelhouse with the original files; a file that was altered must not be installed."
    elif _RETRYING in text:
        said = f"{place} cannot be reached; nothing was installed"
        advice = "Repair the network or pip's settings, or use --wheelhouse DIR."
    elif "No matching distribution" in text or "Could not find a version" in text:
        said = f"{place} lacks a wheel of {locked.name}; nothing was installed"
        advice = _how_to_fill(locked) if wheelhouse is not None else "Use an index that has it, or --wheelhouse DIR."
    else:
        said = f"pip could not install {locked.name} from {place}; nothing was installed"
        advice = "Repair what it names; without a network use --wheelhouse DIR." if wheelhouse is None else ""
    return SourceFailed(f"{said}. pip said:\n{reason}\n{advice}".rstrip())


def _reason(lines: Sequence[str]) -> list[str]:
    """Return pip's lines from its first error on, after the last retry; without an error, its last lines."""
    retries = [line for line in lines if line.startswith(_RETRYING)][-1:]
    first = next((index for index, line in enumerate(lines) if line.startswith("ERROR")), None)
    if first is not None:
        return [*retries, *lines[first:]][:MAX_REASON_LINES]
    return [line for line in lines if not line.strip().startswith(_NOISE)][-MAX_REASON_LINES:]


def _how_to_fill(locked: LockedList) -> str:
    lists = " ".join(f"-r {path}" for path in locked.paths)
    return (
        f"Where there is a network, a Python {locked.python} of the same architecture fills it with:\n"
        f"  python{locked.python} -m pip download --no-deps --require-hashes {lists} -d DIR"
    )
