"""From single readings to the figures of the benchmark (pure).

A page's time on a side is the median over its readings; a side's time on the large pages is the median over pages. The
ratio of two sides is the median over pages of the ratio of that page's times, so that a hard page weighs no more than
an easy one and both sides are compared on the same pages.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from support.text_error import CharacterError


@dataclass(frozen=True)
class Reading:
    """One page read once by one side."""

    seconds: float
    models: dict[str, float]
    """Seconds inside each model, by model name."""
    error: CharacterError


@dataclass
class Measured:
    """All readings that count."""

    readings: dict[tuple[str, str], list[Reading]] = field(default_factory=dict)
    """By page and side."""
    pages_read: int = 0

    def add(self, page: str, side: str, reading: Reading) -> None:
        """Keep one reading."""
        self.readings.setdefault((page, side), []).append(reading)

    def of(self, page: str, side: str) -> list[Reading]:
        """Return the readings of one page by one side; empty when there was no time for it."""
        return self.readings.get((page, side), [])

    def sides(self) -> list[str]:
        """Return the sides in the order in which they were opened."""
        return list(dict.fromkeys(side for _, side in self.readings))


def summarise(measured: Measured, small: str, large: Sequence[str]) -> dict[str, Any]:
    """Return the figures as JSON; ratios are against the first side, above 1 means faster than it."""
    read = [page for page in large if measured.of(page, measured.sides()[0])]
    first = measured.sides()[0]
    return {
        "reference": first,
        "largePages": {"read": len(read), "of": len(large), "readings": sum(len(measured.of(p, first)) for p in read)},
        "sides": {
            side: {
                "small": _figures(measured, side, first, [small]),
                "large": _figures(measured, side, first, read) if read else None,
            }
            for side in measured.sides()
        },
    }


def _figures(measured: Measured, side: str, first: str, names: Sequence[str]) -> dict[str, Any]:
    seconds = {page: median(reading.seconds for reading in measured.of(page, side)) for page in names}
    reference = {page: median(reading.seconds for reading in measured.of(page, first)) for page in names}
    readings = [reading for page in names for reading in measured.of(page, side)]
    models = {model: 1e3 * median(reading.models[model] for reading in readings) for model in readings[0].models}
    rest = median(reading.seconds - sum(reading.models.values()) for reading in readings)
    # A page that was read twice counts once: the same side reads the same text both times.
    errors = [measured.of(page, side)[0].error for page in names]
    total = sum(errors[1:], errors[0])
    return {
        "milliseconds": round(1e3 * median(seconds.values()), 1),
        "ratio": round(median(reference[page] / seconds[page] for page in names), 3),
        "modelMilliseconds": {model: round(value, 1) for model, value in models.items()},
        "restMilliseconds": round(1e3 * rest, 1),
        "characterErrors": total.edits,
        "characters": total.characters,
        "characterErrorRate": round(total.rate, 6),
        "readings": len(readings),
    }
