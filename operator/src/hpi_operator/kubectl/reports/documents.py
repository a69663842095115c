"""Parts of objects as the API server tells them, where any part may be absent."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal

from hpi_core import reasons
from hpi_operator.kubectl.reports.base import Counts, Failure, Observed, Summary

Document = Mapping[str, Any]
"""An object as JSON."""


def part(document: Document, *path: str) -> Document:
    """Return a mapping inside a document; empty where it is absent."""
    found: Any = document
    for name in path:
        found = (found or {}).get(name)
    return found if isinstance(found, Mapping) else {}


def listed(document: Document, *path: str) -> list[Document]:
    """Return a list of mappings inside a document; empty where it is absent."""
    found = part(document, *path[:-1]).get(path[-1]) or ()
    return [one for one in found if isinstance(one, Mapping)]


def name_of(document: Document) -> str:
    """Return the name of an object."""
    return str(part(document, "metadata").get("name", ""))


def namespace_of(document: Document) -> str:
    """Return the namespace of an object; empty where its kind has none."""
    return str(part(document, "metadata").get("namespace", ""))


def labels_of(document: Document) -> Document:
    """Return the labels of an object."""
    return part(document, "metadata", "labels")


def conditions(document: Document) -> dict[str, Observed]:
    """Return the conditions of an object by type."""
    return {
        str(one.get("type")): Observed(
            type=str(one.get("type")),
            status=str(one.get("status")),
            reason=str(one.get("reason") or ""),
            message=str(one.get("message") or ""),
            since=str(one.get("lastTransitionTime") or ""),
        )
        for one in listed(document, "status", "conditions")
    }


def is_behind(document: Document) -> bool:
    """Return whether the status of an object is older than its spec, or absent."""
    generation = part(document, "metadata").get("generation", 1)
    return bool(part(document, "status").get("observedGeneration", 0) != generation)


def summary(document: Document, nobody: str) -> Summary:
    """Return whether an object is ready.

    Args:
        document: The object.
        nobody: What is said where its status has no condition Ready yet.
    """
    ready = conditions(document).get(reasons.READY)
    if ready is None:
        return Summary(status="Unknown", reason="NotLookedAt", message=nobody)
    return Summary(status=three_valued(ready.status), reason=ready.reason, message=ready.message, since=ready.since)


def three_valued(status: str) -> Literal["True", "False", "Unknown"]:
    """Return the status of a condition; a word that is none is as good as Unknown."""
    if status == "True":
        return "True"
    return "False" if status == "False" else "Unknown"


def counts(written: Document) -> Counts:
    """Return pods by how their engines came to be."""
    return Counts(**{name: int(written.get(name) or 0) for name in Counts.model_fields})


def failure(written: Document) -> Failure | None:
    """Return a failure on record; None where there is none."""
    if not written:
        return None
    return Failure(
        reason=str(written.get("reason", "")),
        message=str(written.get("message") or ""),
        time=str(written.get("time") or ""),
        pod=written.get("pod"),
        container=written.get("container"),
        exit_code=written.get("exitCode"),
        revision=written.get("revision"),
    )


def total(many: Iterable[Counts]) -> Counts:
    """Return the sum of counts."""
    sums = dict.fromkeys(Counts.model_fields, 0)
    for one in many:
        for name in sums:
            sums[name] += getattr(one, name)
    return Counts(**sums)
