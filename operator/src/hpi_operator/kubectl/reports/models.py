"""Models that pods of a revision serve, as the agents of their nodes tell it: whether there is an HPIEngine or not."""

from __future__ import annotations

from collections.abc import Iterable

from hpi_operator.kubectl.reports.base import Report
from hpi_operator.kubectl.reports.documents import Document, listed
from hpi_operator.kubectl.reports.pods import workload


class ModelLine(Report):
    """A model on one backend."""

    name: str
    """PaddleX's name of the model."""
    backend: str
    """Backend that it is served on."""
    precision: str = ""
    """Precision of the arithmetic."""
    state: str = ""
    """How its engine came to be: `Measured`, `Provisional`, `Fallback` or `Building`; of several nodes, each once."""
    pods: int = 0
    """Pods that serve it there."""
    p50_microseconds: int | None = None
    """Median time of one inference when the engine was chosen, on the slowest node. Unit: microseconds."""
    p99_microseconds: int | None = None
    """The 99th percentile of the same. Unit: microseconds."""


def model_lines(hpi_nodes: Iterable[Document], namespace: str, pipeline: str, revision: str) -> tuple[ModelLine, ...]:
    """Return the models of a revision on all nodes, by name and backend.

    Args:
        hpi_nodes: HPINodes of its pods.
        namespace: Of the pipeline.
        pipeline: Its name.
        revision: Name of the revision.
    """
    found: dict[tuple[str, str], list[Document]] = {}
    for node in hpi_nodes:
        for one in listed(workload(node, namespace, pipeline, revision), "models"):
            found.setdefault((str(one.get("name")), str(one.get("backend"))), []).append(one)
    return tuple(
        ModelLine(
            name=name,
            backend=backend,
            precision=_each_once(told, "precision"),
            state=_each_once(told, "state"),
            pods=sum(int(one.get("pods") or 0) for one in told),
            p50_microseconds=_largest(told, "p50Microseconds"),
            p99_microseconds=_largest(told, "p99Microseconds"),
        )
        for (name, backend), told in sorted(found.items())
    )


def without_engine(models: Iterable[ModelLine], told: Iterable[str]) -> list[ModelLine]:
    """Return the models that no HPIEngine tells of.

    Args:
        models: All that serve.
        told: Models of the HPIEngines that are shown.
    """
    names = set(told)
    return [one for one in models if one.name not in names]


def _each_once(told: Iterable[Document], field: str) -> str:
    return ", ".join(sorted({str(one[field]) for one in told if one.get(field)}))


def _largest(told: Iterable[Document], field: str) -> int | None:
    return max((int(one[field]) for one in told if one.get(field)), default=None)
