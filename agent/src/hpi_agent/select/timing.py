"""From rounds to figures, and from figures to a choice; pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import median
from typing import Final

from hpi_agent.select.candidate import Candidate
from hpi_agent.select.decision import Timing

HOPELESS_FACTOR: Final = 3.0
"""How many times the best candidate another may take before it is left out after the first rounds."""
NOISE: Final = 0.03
"""Differences below this share of the best are noise: interleaved medians of one engine differ by 1 to 2 %."""
SMALL_MICROSECONDS: Final = 2000
SMALL_NOISE: Final = 0.15
"""Graphs below 2 ms flip between two speeds for minutes (waking the second core); 15 % mean nothing there."""

Rounds = Sequence[Sequence[int]]
"""Microseconds of single inferences: one row per round, one column per sample."""


def summarise(
    rounds: Rounds, memory_bytes: int, load_microseconds: int, device_memory_bytes: int | None = None
) -> Timing:
    """Return the figures of one candidate.

    Args:
        rounds: At least one round of at least one inference.
        memory_bytes: Largest resident memory of its processes.
        load_microseconds: How long it took to load.
        device_memory_bytes: Memory of the accelerator that it holds, or None.
    """
    means = [sum(one) / len(one) for one in rounds]
    single = sorted(value for one in rounds for value in one)
    # The nearest rank: the smallest value that at least 99 of 100 do not exceed.
    p99 = single[math.ceil(0.99 * len(single)) - 1]
    return Timing(
        rounds=len(rounds),
        inferences_per_round=len(rounds[0]),
        p50_microseconds=round(median(means)),
        p99_microseconds=p99,
        memory_bytes=memory_bytes,
        load_microseconds=load_microseconds,
        device_memory_bytes=device_memory_bytes,
    )


def is_hopeless(rounds: Mapping[Candidate, Rounds]) -> dict[Candidate, str]:
    """Return the candidates that need not be measured further, each with the reason."""
    centres = {candidate: median(sum(one) / len(one) for one in rows) for candidate, rows in rounds.items() if rows}
    if not centres:
        return {}
    best = max(min(centres.values()), 1)
    return {
        candidate: f"{centre / best:.1f} times the time of the best after {len(rounds[candidate])} rounds"
        for candidate, centre in centres.items()
        if centre > HOPELESS_FACTOR * best
    }


def is_noise(p50: int, best: int) -> bool:
    """Say whether a median is indistinguishable from the best one. Unit: microseconds."""
    small = max(p50, best) < SMALL_MICROSECONDS
    return p50 <= best * (1 + (SMALL_NOISE if small else NOISE))


def choose(timings: Mapping[Candidate, Timing]) -> tuple[Candidate, str]:
    """Return the candidate to serve and the reason.

    The fastest wins; of those within noise of it, the first in the order of the mapping, which is that of the knowledge
    table: a choice that noise alone decides would change from node to node.

    Args:
        timings: At least one, in the order of the knowledge table.
    """
    best = min(timings, key=lambda candidate: timings[candidate].p50_microseconds)
    shortest = timings[best].p50_microseconds
    chosen = next(candidate for candidate in timings if is_noise(timings[candidate].p50_microseconds, shortest))
    reason = f"measured {_milliseconds(timings[chosen].p50_microseconds)}"
    if chosen != best:
        return chosen, f"{reason}, within noise of {best.name} ({_milliseconds(shortest)}) and earlier in the table"
    others = [candidate for candidate in timings if candidate != chosen]
    if not others:
        return chosen, f"{reason}, the only candidate that passed"
    second = min(others, key=lambda candidate: timings[candidate].p50_microseconds)
    factor = timings[second].p50_microseconds / max(shortest, 1)
    return chosen, f"{reason}, {factor:.2f} times as fast as {second.name}"


def slower_reason(timing: Timing, chosen: Timing) -> str:
    """Return why a candidate does not serve."""
    factor = timing.p50_microseconds / max(chosen.p50_microseconds, 1)
    return f"measured {_milliseconds(timing.p50_microseconds)}, {factor:.2f} times that of the chosen one"


def _milliseconds(microseconds: int) -> str:
    value = microseconds / 1e3
    return f"{value:.2f} ms" if value < 10 else f"{value:.1f} ms"
