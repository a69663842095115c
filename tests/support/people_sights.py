"""Objects as `kubectl hpi` reads them: a pipeline with a status, its pods, the nodes under them, their engines."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from datetime import datetime, timezone
from typing import Any, Final

from hpi_core.names import CLASS, PART, PIPELINE, REVISION, TRACK
from hpi_operator.kubectl.reports.sight import Sight
from support.kinds import manifest
from support.manifests import Document

NOW: Final = datetime(2026, 3, 1, 10, 0, 0, tzinfo=timezone.utc)
SINCE: Final = "2026-03-01T09:45:00Z"
REVISION_NAME: Final = "aaaa111122"
NAMESPACE: Final = "shop"


def a_condition(type_: str, status: str, reason: str, message: str = "") -> Document:
    """Return a condition that has been so for a quarter of an hour."""
    return {"type": type_, "status": status, "reason": reason, "message": message, "lastTransitionTime": SINCE}


def a_seen_pipeline(name: str = "ocr", *conditions: Document, behind: bool = False, **status: Any) -> Document:
    """Return a pipeline as the API server tells it, ready unless its conditions say otherwise."""
    told = {one["type"]: one for one in [a_condition("Ready", "True", "AsWanted"), *conditions]}
    return {
        "apiVersion": "hpi.paddlex.io/v1alpha1",
        "kind": "HPIPipeline",
        "metadata": {"name": name, "namespace": NAMESPACE, "uid": f"uid-of-{name}", "generation": 2},
        "spec": {"pipeline": "OCR", "replicas": 2, "placement": {"accelerators": [{"class": "CPU"}]}},
        "status": {
            "observedGeneration": 1 if behind else 2,
            "conditions": list(told.values()),
            "wantedReplicas": 2,
            "readyReplicas": 2,
            "revision": REVISION_NAME,
            "wantedRevision": REVISION_NAME,
            "revisions": [{"name": REVISION_NAME, "number": 1, "state": "Active", "createdAt": SINCE}],
            **status,
        },
    }


def a_seen_pod(
    name: str,
    *,
    pipeline: str = "ocr",
    node: str | None = "n1",
    ready: bool = False,
    waiting: str | None = None,
    ended: str | None = None,
    exit_code: int | None = None,
    message: str = "",
    restarts: int = 0,
    revision: str = REVISION_NAME,
    part: str = "serving",
) -> Document:
    """Return a pod of a pipeline.

    Args:
        name: Its name.
        pipeline: Whose.
        node: Where. None: the scheduler has found no node.
        ready: Whether it serves.
        waiting: Why its container waits.
        ended: Why its container ended last.
        exit_code: How.
        message: Last words of the container, or the scheduler's.
        restarts: Of the container.
        revision: What it is made of.
        part: `serving` or `prebuild`.
    """
    terminated = {"terminated": {"reason": ended, "exitCode": exit_code, "message": message}} if ended else {}
    container = {
        "name": "serve",
        "ready": ready,
        "restartCount": restarts,
        "state": {"waiting": {"reason": waiting, "message": "" if ended else message}} if waiting else {"running": {}},
        "lastState": terminated,
    }
    conditions = [{"type": "Ready", "status": "True" if ready else "False", "lastTransitionTime": SINCE}]
    if node is None:
        words = {"status": "False", "reason": "Unschedulable", "message": message, "lastTransitionTime": SINCE}
        conditions.append({"type": "PodScheduled", **words})
    labels = {PIPELINE: pipeline, REVISION: revision, CLASS: "cpu", PART: part, TRACK: "stable"}
    return {
        "metadata": {
            "name": name,
            "namespace": NAMESPACE,
            "uid": f"uid-of-{name}",
            "creationTimestamp": SINCE,
            "labels": labels,
        },
        "spec": {} if node is None else {"nodeName": node},
        "status": {
            "phase": "Running" if ready or (node and not waiting) else "Pending",
            "conditions": conditions,
            "containerStatuses": [] if node is None else [container],
        },
    }


def a_seen_node(name: str = "n1", *conditions: Document, **status: Any) -> Document:
    """Return an HPINode whose runtime is usable, unless its status says otherwise."""
    told = {one["type"]: one for one in [a_condition("Ready", "True", "SelfTestPassed"), *conditions]}
    test = {"state": "Passed", "message": "", "time": SINCE}
    runtime = {"name": "hpi-cpu-1.0.0", "state": "Usable", "selfTest": test, "backends": ["openvino", "onnxruntime"]}
    return {
        "kind": "HPINode",
        "metadata": {"name": name, "uid": f"uid-of-{name}", "generation": 1},
        "spec": {"nodeUid": "u", "pool": "default", "runtimes": [{"name": "hpi-cpu-1.0.0"}]},
        "status": {
            "observedGeneration": 1,
            "conditions": list(told.values()),
            "hardware": {"processors": {"cores": 32, "isaLevel": "x86-64-v4"}},
            "runtimes": [runtime],
            "cache": {"quotaBytes": 100 * 2**30, "usedBytes": 3 * 2**30, "entries": 4},
            **status,
        },
    }


def a_workload(
    active: str = "measured",
    *,
    pods: int = 1,
    engines: Iterable[str] = (),
    models: Iterable[Document] = (),
    message: str = "",
) -> Document:
    """Return what an agent says of the pods of `ocr` on its node."""
    return {
        "namespace": NAMESPACE,
        "pipeline": "ocr",
        "revision": REVISION_NAME,
        "engineActive": {active: pods},
        "engines": list(engines),
        "models": list(models),
        "message": message,
    }


def a_served_model(name: str, p50: int | None, *, backend: str = "openvino", pods: int = 1) -> Document:
    """Return what an agent says of one model of pods; its p99 is twice its p50."""
    timing = {} if p50 is None else {"p50Microseconds": p50, "p99Microseconds": 2 * p50}
    state = "Building" if p50 is None else "Measured"
    return {"name": name, "backend": backend, "precision": "float32", "state": state, "pods": pods, **timing}


def a_candidate(name: str, verdict: str, p50: int | None = None, reason: str = "") -> Document:
    """Return a candidate whose p99 is twice its p50; without one it was not measured."""
    timing = {} if p50 is None else {"p50Microseconds": p50, "p99Microseconds": 2 * p50}
    words = {"name": name, "backend": name, "precision": "float32", "verdict": verdict, "reason": reason}
    return {**words, **timing}


def a_seen_engine(name: str = "e-1", *candidates: Document, **status: Any) -> Document:
    """Return an HPIEngine; the candidate whose verdict is `Chosen` serves."""
    document = manifest("HPIEngine", "full")
    chosen = next((one["name"] for one in candidates if one["verdict"] == "Chosen"), None)
    decided = {} if chosen is None else {"chosen": chosen, "quality": "Measured"}
    return {
        **document,
        "metadata": {"name": name, "namespace": NAMESPACE, "generation": 1},
        "status": {"candidates": list(candidates), **decided, **status},
    }


def a_sight(**seen: Any) -> Sight:
    """Return what was read; HPINodes and HPIEngines may be given as lists."""
    for kind in ("hpi_nodes", "engines", "nodes"):
        if isinstance(seen.get(kind), list):
            seen[kind] = {one["metadata"]["name"]: one for one in seen[kind]}
    return Sight(now=NOW, **copy.deepcopy(seen))
