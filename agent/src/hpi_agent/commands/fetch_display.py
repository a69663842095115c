"""How far the files of a model have come, in words."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from typing import Any, Final

STEPS: Final = 10
"""Lines for one download where no line can be overwritten."""

MEGABYTE: Final = 10**6


def fetching_text(event: dict[str, Any]) -> str:
    """Return what an event `fetching` says: `fetching … 12 of 85 MB`."""
    if event["waiting"]:
        return "another process fetches this model; waiting"
    done, total = event["doneBytes"] / MEGABYTE, event["totalBytes"]
    if total is None:
        return f"fetching … {done:.1f} MB"
    return f"fetching … {done:.1f} of {total / MEGABYTE:.1f} MB"


@dataclass
class FetchDisplay:
    """Prints lines on standard error, a few for each download."""

    _shown: dict[str, object] = field(default_factory=dict)

    def show(self, event: dict[str, Any]) -> None:
        """Show one event `fetching`, unless it says nearly the same as the one before."""
        total = event["totalBytes"]
        # Of a size that nobody knows every hundredth megabyte is shown.
        step = event["doneBytes"] * STEPS // max(total, 1) if total is not None else event["doneBytes"] // 10**8
        state = (event["waiting"], step)
        if self._shown.get(event["model"]) != state:
            self._shown[event["model"]] = state
            print(f"{event['model']}: {fetching_text(event)}", file=sys.stderr, flush=True)
