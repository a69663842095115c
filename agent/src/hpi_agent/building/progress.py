"""What a build tells while it works, as plain events that a terminal and a program can both show."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

Say = Callable[[dict[str, Any]], None]
"""Receives one event; its `event` is `fetching`, `fetched`, `started`, `model`, `candidate`, `decided` or `finished`.
"""


@dataclass
class ModelProgress:
    """The progress of one model.

    The time that is left is estimated from what steps of the same kind took so far, and from the fixed time that
    measuring is given.

    Attributes:
        model: Its name.
        say: Receives the events.
    """

    model: str
    say: Say
    candidates: int = 0
    measuring_seconds: float = 0.0
    _prepared: int = 0
    _preparing_seconds: float = 0.0
    _began: float = field(default_factory=time.monotonic)

    def step(self, step: str, detail: str = "") -> None:
        """Tell of a step of the model as a whole."""
        self.say({"event": "model", "model": self.model, "step": step, "detail": detail, **self._remaining()})

    def candidate(self, name: str, step: str, detail: str = "") -> None:
        """Tell of a step of one candidate."""
        facts = {"event": "candidate", "model": self.model, "candidate": name, "step": step, "detail": detail}
        self.say({**facts, **self._remaining()})

    def prepared(self, seconds: float) -> None:
        """Count a candidate that is ready to be measured, or has failed."""
        self._prepared += 1
        self._preparing_seconds += seconds

    def _remaining(self) -> dict[str, int]:
        mean = self._preparing_seconds / self._prepared if self._prepared else 3.0
        left = mean * max(0, self.candidates - self._prepared) + self.measuring_seconds
        return {"remainingSeconds": round(left)}
