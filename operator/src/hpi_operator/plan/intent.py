"""What one pass may change, as a value: objects to state, objects to delete, a status, events."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from hpi_core.names import APPLIED

Manifest = Mapping[str, Any]
"""An object of Kubernetes as plain JSON data."""


@dataclass(frozen=True, order=True)
class ObjectKey:
    """What names one object of the cluster."""

    api_version: str
    """Such as `apps/v1`."""
    kind: str
    namespace: str
    """Empty for an object of the whole cluster."""
    name: str

    def __str__(self) -> str:
        """Return the words by which people name it: `Deployment ns/ocr-cpu`."""
        return f"{self.kind} {self.namespace + '/' if self.namespace else ''}{self.name}"


def key_of(manifest: Manifest) -> ObjectKey:
    """Return what names a manifest."""
    metadata = manifest["metadata"]
    return ObjectKey(manifest["apiVersion"], manifest["kind"], metadata.get("namespace", ""), metadata["name"])


def applied_digest(manifest: Manifest) -> str | None:
    """Return the digest of the intent that an object was last written from, None where it was not ours."""
    digest: str | None = (manifest["metadata"].get("annotations") or {}).get(APPLIED)
    return digest


@dataclass(frozen=True)
class Deletion:
    """An object to delete: exactly the one that was seen, and nothing that took its name since."""

    key: ObjectKey
    uid: str
    reason: str
    """Why, for the log."""


@dataclass(frozen=True)
class Refusal:
    """Why an object that should be was not written."""

    reason: str
    """A reason of `hpi_core.reasons`."""
    message: str
    """Which object, and what the API server or another writer said."""


@dataclass(frozen=True)
class Event:
    """A change of state that people are told about once."""

    reason: str
    """A reason of `hpi_core.reasons`."""
    message: str
    type: Literal["Normal", "Warning"] = "Normal"


@dataclass(frozen=True)
class Plan:
    """Everything one pass may change. Two equal observations give equal plans."""

    apply: tuple[Manifest, ...] = ()
    """Objects that should be, each with every field that the operator means and none that it does not; in the order in
    which they are written."""
    delete: tuple[Deletion, ...] = ()
    """Objects that should not be; the operator's own alone."""
    status: Manifest | None = None
    """The whole status that the observed object should have; None: it is not written."""
    events: tuple[Event, ...] = ()
    labels: Mapping[str, str | None] = field(default_factory=dict)
    """Labels that a Node should have; None: should not have. Of Node passes alone."""
    wanted_engines: frozenset[str] = frozenset()
    """HPIEngines of the namespace that a pipeline uses or wants ahead of its pods. Of pipeline passes alone."""
    look_again_seconds: float | None = None
    """When time alone may change the decision; None: when something changes."""
