"""The fair measurement: candidates take turns, round by round, over the same samples, while the machine is quiet."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from hpi_agent.building.progress import ModelProgress
from hpi_agent.building.trial import Trial
from hpi_agent.discovery import cpu_allowance
from hpi_agent.processes.quiet import PATIENCE_SECONDS, QUIET_LIMIT, WINDOW_SECONDS, QuietWatch, wait_for_quiet
from hpi_agent.select.candidate import Candidate
from hpi_agent.select.decision import Timing
from hpi_agent.select.timing import is_hopeless, summarise
from hpi_core.errors import HpiError

ROUNDS_BEFORE_DROPPING: Final = 2


@dataclass(frozen=True)
class Pace:
    """How long one model is measured, and what counts as a quiet machine."""

    seconds: float = 20.0
    """How long the rounds go on, beyond the fewest."""
    min_rounds: int = 5
    """At least 1."""
    max_rounds: int = 40
    """At least `min_rounds`."""
    patience_seconds: float = PATIENCE_SECONDS
    """How long a quiet machine is waited for."""
    quiet_load: float = QUIET_LIMIT
    """Load of others, as a fraction of the cores, above which a measurement is provisional."""
    window_seconds: float = WINDOW_SECONDS
    """Shortest time over which the load of others is judged: a small graph is measured within a few ticks."""


USUAL_PACE: Final = Pace()


@dataclass(frozen=True)
class Measured:
    """What was measured."""

    timings: dict[Candidate, Timing]
    provisional: str | None
    """Why it has to be measured again, or None."""
    dropped: dict[Candidate, str] = field(default_factory=dict)
    """Candidates that were left out after the first rounds, with the reason; they have a timing too."""
    failed: dict[Candidate, str] = field(default_factory=dict)
    """Candidates that failed while they were measured."""


@dataclass
class Measurement:
    """Measures candidates that have passed the gate.

    Attributes:
        progress: Where steps are told.
        deadline: Seconds of `time.monotonic` after which no further round begins.
        pace: How long to measure.
    """

    progress: ModelProgress
    deadline: float
    pace: Pace = USUAL_PACE
    _rounds: dict[Candidate, list[list[int]]] = field(default_factory=dict)
    _dropped: dict[Candidate, str] = field(default_factory=dict)
    _failed: dict[Candidate, str] = field(default_factory=dict)

    def run(self, trials: Sequence[Trial]) -> Measured:
        """Let the candidates take turns until the time for it is over."""
        cpus = cpu_allowance().usable_cpus
        self.progress.step("quiet")
        before = wait_for_quiet([os.getpid()], cpus, self.pace.quiet_load, self.pace.patience_seconds)
        watch = QuietWatch([os.getpid()], cpus)
        began = time.monotonic()
        for number in range(self.pace.max_rounds):
            left = self.pace.seconds - (time.monotonic() - began)
            if number >= self.pace.min_rounds and (left <= 0 or time.monotonic() > self.deadline):
                break
            self.progress.measuring_seconds = max(0.0, left)
            self._round(trials, number)
        time.sleep(max(0.0, began + self.pace.window_seconds - time.monotonic()))
        load = watch.load()
        timings = {
            trial.candidate: summarise(
                self._rounds[trial.candidate], trial.memory_bytes, trial.load_microseconds, trial.device_memory_bytes
            )
            for trial in trials
            if trial.candidate in self._rounds and trial.candidate not in self._failed
        }
        return Measured(timings, _provisional(load, before, self.pace.quiet_load), self._dropped, self._failed)

    def _round(self, trials: Sequence[Trial], number: int) -> None:
        at_work = [trial for trial in trials if trial.candidate not in {*self._dropped, *self._failed}]
        # Another order each round: nobody has the same neighbour twice, whose caches and threads may linger.
        order = random.Random(number).sample(at_work, len(at_work))  # noqa: S311 - an order, not a secret
        for trial in order:
            self.progress.candidate(trial.candidate.name, "time", f"round {number + 1}")
            try:
                self._rounds.setdefault(trial.candidate, []).append(trial.round())
            except HpiError as error:
                self._failed[trial.candidate] = f"failed while it was measured: {error}"
        if number + 1 == ROUNDS_BEFORE_DROPPING:
            self._drop(at_work)

    def _drop(self, trials: Sequence[Trial]) -> None:
        # One that failed must not be the best that others are compared with.
        rounds = {
            trial.candidate: self._rounds[trial.candidate] for trial in trials if trial.candidate not in self._failed
        }
        for candidate, reason in is_hopeless(rounds).items():
            self._dropped[candidate] = reason


def _provisional(during: float, before: float, limit: float) -> str | None:
    if during <= limit:
        return None
    return (
        f"other processes kept {during:.0%} of the cores busy while it was measured ({before:.0%} before); at most "
        f"{limit:.0%} count as quiet. It is used, not shared, and measured again: what wins twice in a row stays"
    )
