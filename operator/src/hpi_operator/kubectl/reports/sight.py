"""What was read for one report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from hpi_core.names import OPERATOR_NAMESPACE
from hpi_operator.kubectl.reports.documents import Document


@dataclass(frozen=True)
class Sight:
    """Objects around one pipeline or one node, each as the API server told it."""

    now: datetime
    """When it was read."""
    pipeline: Document | None = None
    """The HPIPipeline that was asked about."""
    pods: Sequence[Document] = ()
    """Its pods; those that build ahead as well."""
    deployments: Sequence[Document] = ()
    """Its Deployments."""
    engines: Mapping[str, Document] = field(default_factory=dict)
    """HPIEngines that its status, or a node, names; by name. One that is gone is left out."""
    hpi_nodes: Mapping[str, Document] = field(default_factory=dict)
    """HPINodes that matter, by name."""
    nodes: Mapping[str, Document] = field(default_factory=dict)
    """Nodes that matter, by name."""
    runtimes: Sequence[Document] = ()
    """Every HPIRuntime."""
    events: Mapping[str, Sequence[Document]] = field(default_factory=dict)
    """Warnings by the UID of what they are about, the newest last."""
    lease: Document | None = None
    """The Lease that says which operator acts. None: there is none, or it was not needed."""
    operator_namespace: str = OPERATOR_NAMESPACE
    """Where that Lease is looked for."""
    unseen: tuple[str, ...] = ()
    """What could not be read, and why, one sentence each."""
