"""What the serving pods of a node told, summed up by pipeline and revision."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from hpi_agent.exchange.reports import Active
from hpi_core.api.v1alpha1.node import (
    MAX_BACKENDS_OF_A_WORKLOAD,
    MAX_ENGINES_OF_ALL_WORKLOADS,
    MAX_MODELS_OF_A_WORKLOAD,
    MAX_MODELS_OF_ALL_WORKLOADS,
    MAX_WORKLOADS,
    ServedModel,
)
from hpi_core.errors import Overloaded, Refused

SILENT_SECONDS: Final = 180.0
"""A pod that was not heard of for so long is counted no more: an agent may not list pods."""
MAX_PODS: Final = 1_024
"""More pods than any kubelet runs."""
MAX_ENGINES_OF_A_WORKLOAD: Final = 32
MAX_MESSAGE: Final = 160

Named = TypeVar("Named", str, tuple[str, str])

WORST_FIRST: Final[tuple[Active, ...]] = ("Building", "Fallback", "Provisional", "Measured")
"""Whose message stands for its revision."""


@dataclass(frozen=True)
class Told:
    """The last word of one pod."""

    namespace: str
    pipeline: str
    revision: str
    active: Active
    message: str = ""
    engines: tuple[str, ...] = ()
    """HPIEngines that it uses."""
    backends: tuple[str, ...] = ()
    """Backends that it serves on."""
    models: tuple[ServedModel, ...] = ()
    """Its models."""


class Workloads:
    """The last word of each pod, until it is silent for three minutes; safe from several threads."""

    def __init__(self) -> None:
        """Begin with none."""
        self._lock = threading.Lock()
        self._pods: dict[str, tuple[float, Told]] = {}

    def take(self, pod_uid: str, told: Told, now: float) -> bool:
        """Remember the word of a pod; return whether it is another than before.

        Args:
            pod_uid: Of the pod.
            told: What it says.
            now: Seconds that never go back.

        Raises:
            Overloaded: More pods speak than a node can have.
        """
        with self._lock:
            known = self._pods.get(pod_uid)
            if known is None and len(self._pods) >= MAX_PODS:
                raise Overloaded(f"this node's agent counts {MAX_PODS} pods, and no more", round(SILENT_SECONDS))
            if known is not None and (known[1].namespace, known[1].pipeline) != (told.namespace, told.pipeline):
                raise Refused(f"the pod has reported as one of {known[1].namespace}/{known[1].pipeline}")
            self._pods[pod_uid] = (now, told)
            return known is None or known[1] != told

    def forget(self, pod_uid: str) -> bool:
        """Forget a pod; return whether it was known."""
        with self._lock:
            return self._pods.pop(pod_uid, None) is not None

    def current(self, now: float) -> tuple[list[Told], float | None]:
        """Return the words of the pods that still speak, and in how many seconds the next one falls silent."""
        with self._lock:
            self._pods = {uid: one for uid, one in self._pods.items() if now - one[0] < SILENT_SECONDS}
            heard = [since for since, _ in self._pods.values()]
            left = SILENT_SECONDS - (now - min(heard)) if heard else None
            return [told for _, told in self._pods.values()], left


def summed_up(words: Iterable[Told]) -> tuple[list[dict[str, Any]], int]:
    """Return the rows of HPINode.status.workloads, and how many found no place.

    The order of the words changes nothing. Rows stand by their names; of more than 64 those of most pods stay. The
    engines of all rows are at most 128, the models at most 64, each row keeping the first of its own.
    """
    found: dict[tuple[str, str, str], list[Told]] = {}
    for told in words:
        found.setdefault((told.namespace, told.pipeline, told.revision), []).append(told)
    most = sorted(found, key=lambda key: (-len(found[key]), key))
    kept = sorted(most[:MAX_WORKLOADS])
    engines = _shared_out(
        {key: {name for told in found[key] for name in told.engines} for key in kept},
        MAX_ENGINES_OF_A_WORKLOAD,
        MAX_ENGINES_OF_ALL_WORKLOADS,
    )
    models = _shared_out(
        {key: {(one.name, one.backend) for told in found[key] for one in told.models} for key in kept},
        MAX_MODELS_OF_A_WORKLOAD,
        MAX_MODELS_OF_ALL_WORKLOADS,
    )
    rows = [
        {
            **dict(zip(("namespace", "pipeline", "revision"), key, strict=True)),
            "engineActive": _counts(found[key]),
            "engines": list(engines[key]),
            "backends": sorted({name for told in found[key] for name in told.backends})[:MAX_BACKENDS_OF_A_WORKLOAD],
            "models": [_model_in_use(found[key], *one) for one in models[key]],
            "message": _message(found[key]),
        }
        for key in kept
    ]
    return rows, len(most) - len(kept)


def _counts(words: list[Told]) -> dict[str, int]:
    return {active.lower(): sum(told.active == active for told in words) for active in reversed(WORST_FIRST)}


def _message(words: list[Told]) -> str:
    told = [(WORST_FIRST.index(one.active), one.message) for one in words if one.message and one.active != "Measured"]
    return min(told)[1][:MAX_MESSAGE] if told else ""


def _model_in_use(words: list[Told], name: str, backend: str) -> dict[str, Any]:
    """Return what pods say of one model on one backend, as one: the slowest and the least sure counts."""
    told = [one for word in words for one in word.models if (one.name, one.backend) == (name, backend)]
    slowest = {
        "p50Microseconds": max((one.p50_microseconds or 0 for one in told), default=0),
        "p99Microseconds": max((one.p99_microseconds or 0 for one in told), default=0),
    }
    return {
        "name": name,
        "backend": backend,
        "precision": min(one.precision for one in told),
        "state": min((one.state for one in told), key=_sureness),
        "pods": len(told),
        **{key: value for key, value in slowest.items() if value},
    }


def _sureness(state: str) -> tuple[int, str]:
    known: tuple[str, ...] = WORST_FIRST
    return (known.index(state) if state in known else -1), state


def _shared_out(
    wanted: Mapping[tuple[str, str, str], set[Named]], most_of_a_row: int, most: int
) -> dict[tuple[str, str, str], tuple[Named, ...]]:
    """Return what each row may name, at most so many in all; what a row does not need is left to others."""
    left, rows = most, len(wanted)
    given: dict[tuple[str, str, str], tuple[Named, ...]] = {}
    for key in sorted(wanted, key=lambda key: (len(wanted[key]), key)):
        share = min(most_of_a_row, left // rows)
        given[key] = tuple(sorted(wanted[key])[:share])
        left, rows = left - len(given[key]), rows - 1
    return given
