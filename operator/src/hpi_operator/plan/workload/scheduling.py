"""On which nodes the pods of a pipeline may land."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from hpi_core.api.v1alpha1.pipeline import HPIPipeline
from hpi_core.api.v1alpha1.placement import TopologySpread
from hpi_core.api.v1alpha1.pod_template import Toleration
from hpi_core.names import PART, PIPELINE, REVISION, USABLE, node_runtime_label
from hpi_operator.plan.placement import ARCHITECTURE
from hpi_operator.plan.selection import node_affinity
from hpi_operator.plan.workload.parts import ClassPlan

SPREAD: Final = {"Preferred": "ScheduleAnyway", "Required": "DoNotSchedule"}
HOSTNAME: Final = "kubernetes.io/hostname"
ZONE: Final = "topology.kubernetes.io/zone"


def scheduling(pipeline: HPIPipeline, plan: ClassPlan) -> dict[str, Any]:
    """Return the fields of a pod's spec that keep it to nodes of a class, with its runtime."""
    template = pipeline.spec.pod_template
    chosen = plan.chosen.record
    selector = {**plan.offered.accelerator.requirements.node_selector, **template.node_selector}
    if chosen.architecture is not None:
        selector[ARCHITECTURE] = chosen.architecture
    optional: dict[str, Any] = {
        "affinity": _affinity(pipeline, plan),
        "schedulerName": pipeline.spec.placement.scheduler_name,
        "priorityClassName": template.priority_class_name,
        "runtimeClassName": template.runtime_class_name or plan.data.runtime_class,
    }
    return {
        "nodeSelector": {**selector, node_runtime_label(chosen.name): USABLE},
        "tolerations": _tolerations(plan, template.tolerations),
        **{key: value for key, value in optional.items() if value},
    }


def spread_constraints(spread: TopologySpread, selector: Mapping[str, str]) -> Iterator[dict[str, Any]]:
    """Yield how pods keep away from one another.

    Args:
        spread: What was asked.
        selector: Labels of the pods that count.
    """
    for key, wish in ((HOSTNAME, spread.nodes), (ZONE, spread.zones)):
        if wish != "Disabled":
            yield {
                "maxSkew": 1,
                "topologyKey": key,
                "whenUnsatisfiable": SPREAD[wish],
                "labelSelector": {"matchLabels": dict(selector)},
                # A rollout's new pods spread among themselves, not around those that are about to go.
                "matchLabelKeys": [REVISION],
            }


def _affinity(pipeline: HPIPipeline, plan: ClassPlan) -> dict[str, Any]:
    affinity: dict[str, Any] = {}
    nodes = node_affinity(plan.terms)
    if nodes is not None:
        affinity["nodeAffinity"] = nodes
    if pipeline.spec.cache.access_mode == "ReadWriteOnce":
        # One node at a time can mount the claim: the next revision's pod starts beside the one that it replaces.
        beside = {"labelSelector": {"matchLabels": {PIPELINE: pipeline.metadata.name, PART: "serving"}}}
        affinity["podAffinity"] = {
            "requiredDuringSchedulingIgnoredDuringExecution": [{**beside, "topologyKey": HOSTNAME}]
        }
    return affinity


def _tolerations(plan: ClassPlan, asked: Iterable[Toleration]) -> list[dict[str, Any]]:
    written = [dict(one) for one in plan.data.tolerations]
    for toleration in asked:
        one = toleration.model_dump(mode="json", by_alias=True, exclude_none=True)
        if one not in written:
            written.append(one)
    return written
