"""Quantities and states as people read them."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from hpi_core.moments import read_moment
from hpi_operator.kubectl.reports.base import Counts, Summary
from hpi_operator.kubectl.reports.tree import Asked, Obtained
from hpi_operator.kubectl.text.terminal import Cell, Colour

ENGINE_DIGITS: Final = 10
"""Of an HPIEngine's name, as many as tell the few of a namespace apart; `-o json` has all."""

COLOURS: Final[dict[str, Colour]] = {
    "Ready": "green",
    "Measured": "green",
    "Usable": "green",
    "Active": "green",
    "Chosen": "green",
    "Starting": "yellow",
    "Pending": "yellow",
    "Progressing": "yellow",
    "Provisional": "yellow",
    "Building": "yellow",
    "Undecided": "yellow",
    "Absent": "yellow",
    "Installed": "yellow",
    "Pulling": "yellow",
    "Ending": "dim",
    "Retired": "dim",
    "Excluded": "dim",
    "Completed": "dim",
    "Failed": "red",
    "Gone": "red",
    "Unschedulable": "red",
    "OutOfTolerance": "red",
    "NotUsable": "red",
}


def milliseconds(microseconds: int | None) -> str:
    """Return a time: `14.2 ms`; empty where there is none."""
    if microseconds is None:
        return ""
    value = microseconds / 1000
    return f"{value:.0f} ms" if value >= 100 else f"{value:.1f} ms" if value >= 1 else f"{value:.2f} ms"


def size(number: int | None) -> str:
    """Return bytes: `3.0 GiB`; empty where there are none."""
    if number is None:
        return ""
    value, units = float(number), ["B", "KiB", "MiB", "GiB", "TiB"]
    while value >= 1024 and len(units) > 1:
        value /= 1024
        units.pop(0)
    return f"{value:.0f} {units[0]}" if value >= 10 or units[0] == "B" else f"{value:.1f} {units[0]}"


def age(written: str, now: datetime) -> str:
    """Return how long ago a moment was: `12 min`; empty where it is none."""
    try:
        moment = read_moment(written)
    except ValueError:
        return ""
    seconds = int((now - moment).total_seconds())
    if seconds < 0:
        return "0 s"
    for unit, length in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds // length} {unit}"
    return f"{seconds} s"


def state_cell(word: str, *, wrong: bool = False) -> Cell:
    """Return the cell of a state."""
    return Cell(word, "red" if wrong else COLOURS.get(word, ""))


def ready_cell(ready: Summary, *, attention: str = "") -> Cell:
    """Return the cell that says whether something is ready."""
    if ready.status == "True":
        return Cell("yes", "yellow" if attention else "green")
    return Cell("no", "red") if ready.status == "False" else Cell("unknown", "yellow")


def reason_and_message(reason: str, message: str) -> str:
    """Return a reason and what is said with it."""
    return f"{reason}: {message}" if reason and message else reason or message


def active_words(counts: Counts | None) -> str:
    """Return pods by how their engines came to be: `2 measured, 1 building`; empty where nobody says."""
    if counts is None or counts.total == 0:
        return ""
    found = ((getattr(counts, name), name) for name in Counts.model_fields)
    return ", ".join(f"{number} {name}" for number, name in found if number)


def short_engine(name: str) -> str:
    """Return so many digits of an HPIEngine's name as people compare."""
    return f"{name[: ENGINE_DIGITS + 2]}…" if len(name) > ENGINE_DIGITS + 3 else name


def asked_words(asked: Asked) -> str:
    """Return what was asked for, in one line."""
    policy = f" ({asked.policy})" if asked.policy and len(asked.classes) > 1 else ""
    words = [
        f"{asked.pipeline}, {asked.replicas} replica{'' if asked.replicas == '1' else 's'}",
        f"on {' or else '.join(asked.classes)}{policy}",
        f"backend {asked.backend}" if asked.backend else "the best backend",
        f"runtime {asked.runtime}" if asked.runtime else "the best runtime",
    ]
    return ", ".join([*words, f"engines {asked.build}"] if asked.build else words)


def obtained_words(obtained: Obtained) -> str:
    """Return what there is, in one line."""
    words = [
        f"{obtained.ready_replicas} of {obtained.wanted_replicas} answer",
        f"on {obtained.hardware}" if obtained.hardware else "",
        obtained.backend,
        f"runtime {obtained.runtime}" if obtained.runtime else "",
        f"{obtained.engines_ready} of {obtained.engines_wanted} engines decided" if obtained.engines_wanted else "",
        obtained.url,
    ]
    return ", ".join(word for word in words if word)
