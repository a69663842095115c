"""The choice of a build, checked: every candidate that passed the gate is measured again, apart from the build.

The build lets candidates take turns in one order and without a pause. Here each begins in fresh processes, rests before
its turn until the threads of the one before have stopped spinning, and meets another neighbour in every round.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

from hpi_agent.building.resolution import Resolution
from hpi_agent.building.trial import Bounds, Trial
from hpi_agent.samples.gather import SampleSet, gather
from hpi_agent.select.candidate import Candidate
from hpi_agent.select.decision import Decision, Outcome, Timing
from hpi_agent.select.timing import SMALL_MICROSECONDS, is_hopeless, is_noise, summarise

REST_SECONDS: Final = 0.3
"""Pause before each turn. OpenMP's threads in Paddle spin for 200 ms after a run (seen with paddlepaddle 3.2.2 as
processor time after the end of `run`), ONNX Runtime's for 35 ms."""
ROUNDS_BEFORE_LEAVING_OUT: Final = 3
MAX_RATIO: Final = 1.10
"""How far the chosen candidate may be behind the best one."""

Verdict = Literal["within 10 %", "within noise", "too slow"]


@dataclass(frozen=True)
class Checked:
    """How a choice looks in another measurement.

    Attributes:
        best: Name of the candidate with the shortest median.
        ratio: Median of the chosen candidate over the shortest one.
        verdict: `within noise` is said of graphs below 2 ms alone, where medians flip between two speeds for minutes.
    """

    best: str
    ratio: float
    verdict: Verdict


def check_choice(chosen: str, p50_microseconds: Mapping[str, int]) -> Checked:
    """Return the verdict on a choice; pure.

    Args:
        chosen: One of the names.
        p50_microseconds: Median of every candidate, at least the chosen one's.
    """
    best = min(p50_microseconds, key=lambda name: p50_microseconds[name])
    ours, shortest = p50_microseconds[chosen], max(1, p50_microseconds[best])
    ratio = ours / shortest
    small = max(ours, shortest) < SMALL_MICROSECONDS
    if small and is_noise(ours, shortest):
        return Checked(best, ratio, "within noise")
    return Checked(best, ratio, "within 10 %" if ratio <= MAX_RATIO else "too slow")


def turns(count: int, number: int) -> list[int]:
    """Return the order of a round: who begins changes with every round, who follows whom with every second; pure.

    Args:
        count: How many take turns.
        number: Number of the round, from 0.
    """
    if count == 0:
        return []
    start = (number // 2) % count
    order = [(start + step) % count for step in range(count)]
    return order if number % 2 == 0 else order[::-1]


@dataclass(frozen=True)
class Remeasured:
    """What a second measurement found."""

    timings: Mapping[Candidate, Timing]
    left_out: Mapping[Candidate, str]
    """Candidates that were too slow to be measured to the end, with the reason; they have a timing too."""
    samples: SampleSet


def remeasure(resolution: Resolution, decision: Decision, bounds: Bounds, rounds: int) -> Remeasured:
    """Measure the candidates of a decision that passed the gate.

    Args:
        resolution: With its files made.
        decision: What the build decided.
        bounds: What one candidate may use.
        rounds: How many rounds, at least 1.
    """
    measured = [outcome for outcome in decision.outcomes if outcome.timing is not None]
    with ExitStack() as stack:
        trials = [_loaded(stack, resolution, outcome, bounds) for outcome in measured]
        # Names, types and ranks are the same for all: the gate compared their answers.
        inputs = replace(resolution.inputs, specs=trials[0].inputs)
        samples = gather(inputs, folder=resolution.site.samples, only_model=resolution.use.alone)
        for trial in trials:
            for sample in samples.samples:
                trial.keep(sample.feeds)
        taken, left_out = _take_turns(trials, rounds)
        timings = {
            trial.candidate: summarise(taken[trial.candidate], trial.memory_bytes, trial.load_microseconds)
            for trial in trials
        }
    return Remeasured(timings, left_out, samples)


def _loaded(stack: ExitStack, resolution: Resolution, outcome: Outcome, bounds: Bounds) -> Trial:
    candidate = outcome.candidate
    path, interpreter = resolution.model_path(candidate), resolution.site.interpreter_of(candidate)
    trial = Trial.start(candidate, path, interpreter, bounds, resolution.placement(candidate))
    stack.callback(trial.close)
    trial.load(resolution.site.store.root, outcome.engine_key if candidate.has_built_form else None)
    return trial


def _take_turns(trials: Sequence[Trial], rounds: int) -> tuple[dict[Candidate, list[list[int]]], dict[Candidate, str]]:
    taken: dict[Candidate, list[list[int]]] = {trial.candidate: [] for trial in trials}
    left_out: dict[Candidate, str] = {}
    for number in range(rounds):
        at_work = [trial for trial in trials if trial.candidate not in left_out]
        for index in turns(len(at_work), number):
            time.sleep(REST_SECONDS)
            trial = at_work[index]
            taken[trial.candidate].append(trial.round())
        if number + 1 == ROUNDS_BEFORE_LEAVING_OUT:
            left_out = is_hopeless(taken)
    return taken, left_out


def shapes_of(samples: SampleSet) -> list[dict[str, Any]]:
    """Return the shape of every input of every sample, for JSON."""
    return [{name: list(array.shape) for name, array in sample.feeds.items()} for sample in samples.samples]
