"""What all objects of a pipeline have in common, and what one class of hardware adds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from hpi_core.api.base import API_VERSION
from hpi_core.api.v1alpha1.pipeline import HPIPipeline
from hpi_core.names import CLASS, INSTANCE, MANAGED_BY, NAME, PART, PIPELINE, TRACK
from hpi_operator.plan.accelerators import ClassData
from hpi_operator.plan.observed import Settings
from hpi_operator.plan.placement import Offered
from hpi_operator.plan.revisions import Revision
from hpi_operator.plan.runtime_choice import ChosenRuntime
from hpi_operator.plan.selection import Term

STABLE: Final = "stable"
CANARY: Final = "canary"

HTTP_PORT: Final = 8080
HTTP: Final = "http"


@dataclass(frozen=True)
class Owner:
    """The pipeline as the owner of its objects."""

    pipeline: HPIPipeline
    uid: str
    namespace: str

    @property
    def name(self) -> str:
        """Name of the pipeline."""
        return self.pipeline.metadata.name

    def metadata(self, name: str, labels: dict[str, str] | None = None) -> dict[str, Any]:
        """Return the metadata of an object that goes when the pipeline goes."""
        return {
            "name": name,
            "namespace": self.namespace,
            "labels": {
                PIPELINE: self.name,
                NAME: "hpi",
                INSTANCE: self.name,
                MANAGED_BY: "hpi-operator",
                **(labels or {}),
            },
            "ownerReferences": [
                {
                    "apiVersion": API_VERSION,
                    "kind": "HPIPipeline",
                    "name": self.name,
                    "uid": self.uid,
                    "controller": True,
                    # The pipeline may go before its objects: nothing waits for them.
                    "blockOwnerDeletion": False,
                }
            ],
        }


@dataclass(frozen=True)
class ClassPlan:
    """What one class of hardware contributes."""

    data: ClassData
    offered: Offered
    chosen: ChosenRuntime
    terms: frozenset[Term] = frozenset()
    """Labels by which the scheduler tells nodes that fit; none: the resource says it."""

    @property
    def label(self) -> str:
        """Value of the label `class`: the class in lower case."""
        return self.data.label


@dataclass(frozen=True)
class TrackPlan:
    """One Deployment: a revision on a class of hardware."""

    owner: Owner
    revision: Revision
    pipeline: HPIPipeline
    """The revision's pipeline, with everything that changes no pod as it is now."""
    class_plan: ClassPlan
    track: str
    replicas: int | None
    """None: the autoscaler's."""
    settings: Settings
    stands_still: bool = False
    """Whether no pod is replaced at the moment."""
    may_be_away: int = 0
    """Pods that may be away while they are replaced, because others stand in for them."""

    @property
    def selector(self) -> dict[str, str]:
        """Labels that tell the pods of this Deployment from all others; they never change."""
        return {PIPELINE: self.owner.name, CLASS: self.class_plan.label, TRACK: self.track, PART: "serving"}
