"""The Job that builds the engines of a revision for one class of hardware, before a pod that serves needs them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from hpi_core.api.base import GROUP
from hpi_core.api.v1alpha1.hardware import HardwareClass
from hpi_core.api.v1alpha1.pipeline import HPIPipeline
from hpi_core.digest import digest_of_json
from hpi_core.names import (
    CLASS,
    ENV_RESOLUTIONS,
    INSTANCE,
    MANAGED_BY,
    NAME,
    PART,
    PIPELINE,
    RESOLUTION,
    REVISION,
    RUNTIME,
    child_name,
)
from hpi_operator.plan.intent import Manifest
from hpi_operator.plan.observed import Settings
from hpi_operator.plan.revisions import Revision
from hpi_operator.plan.workload.parts import ClassPlan, Owner
from hpi_operator.plan.workload.pod import MANIFEST_PATH, common_container, common_spec
from hpi_operator.plan.workload.storage import mounted_by_all

PREBUILD: Final = "prebuild"
RESOLUTIONS: Final = f"{GROUP}/resolutions"
"""Annotation of a Job and its pods: names of the HPIEngines that it builds, with commas between them."""

TRIES_AGAIN: Final = 2
HARDWARE_DIGITS: Final = 8


@dataclass(frozen=True)
class BuildPlan:
    """One build ahead."""

    owner: Owner
    revision: Revision
    pipeline: HPIPipeline
    """The revision's pipeline, with everything that changes no pod as it is now."""
    class_plan: ClassPlan
    hardware: HardwareClass
    nodes: tuple[str, ...]
    """Nodes of that hardware, of which any will do."""
    engines: tuple[str, ...]
    """HPIEngines that it builds, those whose model is known by its digest."""
    deadline_seconds: int
    settings: Settings

    @property
    def name(self) -> str:
        """Name of the Job: `ocr-build-0123456789-89abcdef`."""
        hardware = self.hardware.model_dump(mode="json", by_alias=True, exclude_none=True)
        made_with = {"hardware": hardware, "runtime": self.class_plan.chosen.record.to_json()}
        digits = digest_of_json(made_with).partition(":")[2][:HARDWARE_DIGITS]
        return child_name(self.owner.name, "build", self.revision.name, digits)


def build_job(plan: BuildPlan) -> Manifest:
    """Return the Job: it owns a device as a serving pod does, and holds no more rights."""
    labels = {CLASS: plan.class_plan.label, REVISION: plan.revision.name, PART: PREBUILD}
    if len(plan.engines) == 1:
        labels[RESOLUTION] = plan.engines[0]
    metadata = plan.owner.metadata(plan.name, labels)
    if plan.engines:
        metadata["annotations"] = {RESOLUTIONS: ",".join(plan.engines)}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": metadata,
        "spec": {
            "backoffLimit": TRIES_AGAIN,
            "activeDeadlineSeconds": plan.deadline_seconds,
            "template": {"metadata": _pod_metadata(plan, labels), "spec": _pod_spec(plan)},
        },
    }


def _pod_metadata(plan: BuildPlan, labels: dict[str, str]) -> dict[str, Any]:
    template = plan.pipeline.spec.pod_template
    annotations = {**template.annotations, RUNTIME: plan.class_plan.chosen.name}
    if plan.engines:
        annotations[RESOLUTIONS] = ",".join(plan.engines)
    own = {PIPELINE: plan.owner.name, NAME: "hpi", INSTANCE: plan.owner.name, MANAGED_BY: "hpi-operator"}
    return {"labels": {**template.labels, **own, **labels}, "annotations": annotations}


def _pod_spec(plan: BuildPlan) -> dict[str, Any]:
    mounted = list(mounted_by_all(plan.pipeline, plan.revision, plan.class_plan.chosen.record, plan.settings))
    spec = common_spec(plan.owner.name, plan.pipeline, plan.class_plan, mounted)
    # No label tells one class of hardware from another for certain; their names do.
    fields = ({"key": "metadata.name", "operator": "In", "values": [name]} for name in plan.nodes)
    terms = {"nodeSelectorTerms": [{"matchFields": [field]} for field in fields]}
    affinity = {**spec.get("affinity", {}), "nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": terms}}
    container = common_container(plan.pipeline, plan.class_plan, plan.revision.name, plan.settings, mounted)
    named = [{"name": ENV_RESOLUTIONS, "value": ",".join(plan.engines)}] if plan.engines else []
    return {
        **spec,
        "affinity": affinity,
        "restartPolicy": "Never",
        "containers": [
            {
                **container,
                "name": "build",
                "env": [*container["env"], *named],
                "args": ["build", "-f", MANIFEST_PATH, "-o", "json"],
                "terminationMessagePolicy": "FallbackToLogsOnError",
            }
        ],
    }
