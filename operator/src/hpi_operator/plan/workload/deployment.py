"""The Deployment of one revision on one class of hardware, and what bounds and scales it."""

from __future__ import annotations

from typing import Any, Final

from hpi_core.api.v1alpha1.exposure import Autoscaling, Target
from hpi_core.api.v1alpha1.pipeline import HPIPipeline
from hpi_core.api.v1alpha1.rollout import Rollout
from hpi_core.names import CLASS, PART, PIPELINE, TRACK, child_name
from hpi_operator.plan.failures import absolute
from hpi_operator.plan.intent import Manifest
from hpi_operator.plan.quantities import canonical
from hpi_operator.plan.workload.parts import CANARY, STABLE, Owner, TrackPlan
from hpi_operator.plan.workload.pod import START_MARGIN_SECONDS, pod_template

HISTORY: Final = 2
"""Old ReplicaSets that Kubernetes keeps: revisions are kept in ConfigMaps, so a few are enough."""

POD_METRICS: Final = {
    "QueueLength": "hpi_queue_length",
    "RequestsInService": "hpi_requests_in_service",
    "RequestsPerSecond": "hpi_requests_per_second",
}
"""Metrics of the serving pods, as an adapter for custom metrics offers them."""


def deployment_name(pipeline: str, class_label: str, track: str) -> str:
    """Return the name of a Deployment: `ocr-nvidia`, `ocr-nvidia-canary`."""
    return child_name(pipeline, class_label, *([CANARY] if track == CANARY else []))


def deployment(plan: TrackPlan) -> Manifest:
    """Return the Deployment of one revision on one class of hardware.

    No pod is taken away before another answers, so that a revision that never becomes ready takes nothing from the one
    before. As many new pods start at once as may fail.
    """
    rollout, build = plan.pipeline.spec.rollout, plan.pipeline.spec.build
    rolling = {"maxUnavailable": plan.may_be_away, "maxSurge": max_surge(rollout)}
    spec: dict[str, Any] = {
        "selector": {"matchLabels": plan.selector},
        "strategy": {"type": "RollingUpdate", "rollingUpdate": rolling},
        # A pod that still loads its engines is no failure.
        "progressDeadlineSeconds": max(rollout.progress_deadline_seconds, build.timeout_seconds + START_MARGIN_SECONDS),
        "revisionHistoryLimit": HISTORY,
        "paused": plan.stands_still,
        "template": pod_template(plan),
    }
    if plan.replicas is not None:
        spec["replicas"] = plan.replicas
    labels = {CLASS: plan.class_plan.label, TRACK: plan.track, PART: "serving"}
    name = deployment_name(plan.owner.name, plan.class_plan.label, plan.track)
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": plan.owner.metadata(name, labels),
        "spec": spec,
    }


def max_surge(rollout: Rollout) -> int | str:
    """Return how many pods of a new revision may start at once: as many as may fail, and at least one."""
    allowed = rollout.max_failed_replicas
    if isinstance(allowed, int):
        return max(1, allowed)
    return allowed if int(allowed.rstrip("%")) > 0 else 1


def disruption_budget(owner: Owner, pipeline: HPIPipeline, replicas: int, waiting: int) -> Manifest:
    """Return the PodDisruptionBudget over all pods of a pipeline.

    Args:
        owner: The pipeline.
        pipeline: The same, as it is now.
        replicas: Pods that are wanted in all.
        waiting: Pods of those for which others stand in: that they do not answer is no disruption.
    """
    asked = pipeline.spec.availability.max_unavailable
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": owner.metadata(owner.name),
        "spec": {
            "maxUnavailable": absolute(asked, replicas) + waiting if waiting else asked,
            "selector": {"matchLabels": {PIPELINE: owner.name, PART: "serving"}},
            # A pod that never became ready must not keep a node from being drained.
            "unhealthyPodEvictionPolicy": "AlwaysAllow",
        },
    }


def autoscaler(owner: Owner, class_label: str, wish: Autoscaling) -> Manifest:
    """Return the HorizontalPodAutoscaler of the stable Deployment on one class of hardware."""
    name = deployment_name(owner.name, class_label, STABLE)
    down = {"stabilizationWindowSeconds": wish.scale_down_stabilization_seconds}
    return {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": owner.metadata(name, {CLASS: class_label}),
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": name},
            "minReplicas": wish.min_replicas,
            "maxReplicas": wish.max_replicas,
            "metrics": [_metric(target) for target in wish.targets],
            "behavior": {"scaleDown": down},
        },
    }


def _metric(target: Target) -> dict[str, Any]:
    if target.metric == "CPUUtilizationPercent":
        return {
            "type": "Resource",
            "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": target.average}},
        }
    return {
        "type": "Pods",
        "pods": {
            "metric": {"name": POD_METRICS[target.metric]},
            "target": {"type": "AverageValue", "averageValue": canonical(str(target.average))},
        },
    }
