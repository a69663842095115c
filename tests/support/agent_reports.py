"""What a node agent says in HPINode.status, of what it sees; checked against the contract's own models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from hpi_core import reasons
from hpi_core.api.v1alpha1.node import MAX_WORKLOADS, Hardware, NodeSpec, NodeStatus
from hpi_core.names import PIPELINE, REVISION, RUNTIME, shortened
from support.manifests import Document

AGENT_VERSION: Final = "0.1.0"
OWN_QUOTA_BYTES: Final = 100 * 2**30
"""What an agent keeps to that is told no quota."""
LABEL_CHARACTERS: Final = 63

Active = Literal["measured", "provisional", "fallback", "building"]


@dataclass(frozen=True)
class Told:
    """What a test told the agents to say of the pods of a pipeline."""

    active: Active = "measured"
    message: str = ""
    engines: tuple[str, ...] = ()
    """HPIEngines that they use."""
    backends: tuple[str, ...] = ("openvino",)
    """Backends that they serve on."""
    models: tuple[Document, ...] = ()
    """What each of their models is served on, without the number of pods."""


@dataclass(frozen=True)
class Sight:
    """What one agent sees."""

    hardware: Hardware
    hpi_node: Document
    runtimes: Mapping[str, Document]
    """HPIRuntimes by name."""
    self_tests: Sequence[Document]
    """Self-test pods on the node."""
    serving: Sequence[Document]
    """Serving pods on the node, ready ones, each older than the time that engines take to be measured."""
    settling: Sequence[Document]
    """Younger ones."""
    engines: Mapping[tuple[str, str], str]
    """State of each wanted engine by namespace and name."""
    told: Mapping[tuple[str, str], Told] = field(default_factory=dict)
    """By namespace and pipeline."""
    failing: Mapping[str, str] = field(default_factory=dict)
    """Runtimes whose self-test fails here, whatever their pods say, with the message."""
    now: str = ""


def node_status(sight: Sight) -> Document:
    """Return the whole status that the agent states.

    Raises:
        pydantic.ValidationError: The HPINode's spec, or this status, is not what the contract allows.
    """
    spec = NodeSpec.model_validate(sight.hpi_node["spec"])
    before = sight.hpi_node.get("status", {})
    known = {one["name"]: one for one in before.get("runtimes", ())}
    runtimes = [
        _runtime(wanted, known.get(wanted["name"]), sight) for wanted in sight.hpi_node["spec"].get("runtimes", ())
    ]
    workloads, omitted = _workloads(sight)
    generation = sight.hpi_node["metadata"]["generation"]
    engines = [
        {"namespace": one.namespace, "name": one.name, "state": sight.engines.get((one.namespace, one.name), "Absent")}
        for one in spec.engines
    ]
    status = {
        "observedGeneration": generation,
        "conditions": [_ready(runtimes, generation, before.get("conditions", ()), sight)],
        "agentVersion": AGENT_VERSION,
        "hardware": sight.hardware.model_dump(mode="json", by_alias=True, exclude_none=True),
        "runtimes": runtimes,
        "workloads": workloads,
        "workloadsOmitted": omitted,
        "engines": engines,
        "cache": {
            "quotaBytes": spec.cache_quota_bytes or OWN_QUOTA_BYTES,
            "usedBytes": 0,
            "entries": sum(one["state"] == "Cached" for one in engines),
        },
    }
    return NodeStatus.model_validate(status).model_dump(mode="json", by_alias=True, exclude_none=True)


def _runtime(wanted: Document, known: Document | None, sight: Sight) -> Document:
    """Return what is said of a wanted runtime: a result that was said once stays, its pod may be gone since."""
    name, digest = wanted["name"], wanted["lockDigest"]
    said: Document = {"name": name, "lockDigest": digest, "state": "Installed"}
    result = _self_test(name, sight)
    if result is None and known is not None and known["lockDigest"] == digest:
        result = known.get("selfTest")
    if name in sight.failing and result is not None and result["state"] != "Running":
        result = {"state": "Failed", "message": sight.failing[name], "time": result.get("time", sight.now)}
    if result is None:
        return said
    backends = sight.runtimes.get(name, {}).get("spec", {}).get("backends", [])
    state = {"Passed": "Usable", "Failed": "Failed"}.get(result["state"], "Installed")
    return {**said, "selfTest": result, "state": state, "backends": backends if state == "Usable" else []}


def _self_test(runtime: str, sight: Sight) -> Document | None:
    images = {one["image"] for one in sight.runtimes.get(runtime, {}).get("spec", {}).get("images", ())}
    label = shortened(runtime, LABEL_CHARACTERS)
    results = [
        _result_of(pod)
        for pod in sorted(sight.self_tests, key=lambda pod: str(pod["metadata"]["creationTimestamp"]))
        # The pod of an earlier lock of the same name has another image.
        if pod["metadata"]["labels"].get(RUNTIME) == label and pod["spec"]["containers"][0]["image"] in images
    ]
    return next((one for one in reversed(results) if one is not None), None)


def _result_of(pod: Document) -> Document | None:
    phase = pod["status"].get("phase")
    if phase == "Running":
        return {"state": "Running"}
    if phase not in ("Succeeded", "Failed"):
        return None
    statuses = pod["status"].get("containerStatuses") or [{}]
    # A pod that was evicted, or ran out of time, has no word of its container.
    ended = statuses[0].get("state", {}).get("terminated", {})
    time = ended.get("finishedAt", pod["metadata"]["creationTimestamp"])
    if phase == "Succeeded":
        return {"state": "Passed", "message": ended.get("message", ""), "time": time}
    why = pod["status"].get("message") or f"the self-test ended with exit code {ended.get('exitCode')}"
    return {"state": "Failed", "message": (ended.get("message") or why)[:256], "time": time}


def _workloads(sight: Sight) -> tuple[list[Document], int]:
    found: dict[tuple[str, str, str], Document] = {}
    for pods, settled in ((sight.serving, True), (sight.settling, False)):
        for pod in pods:
            labels, namespace = pod["metadata"]["labels"], pod["metadata"]["namespace"]
            key = namespace, labels[PIPELINE], labels[REVISION]
            told = sight.told.get(key[:2], Told())
            said = {"message": told.message, "engines": list(told.engines), "backends": list(told.backends)}
            models = [{**model, "pods": 0} for model in told.models]
            one = found.setdefault(key, {"engineActive": {}, "models": models, **said})
            for model in one["models"]:
                model["pods"] += 1
            active = told.active if settled else "building"
            one["engineActive"][active] = one["engineActive"].get(active, 0) + 1
    names = ("namespace", "pipeline", "revision")
    rows = [{**dict(zip(names, key, strict=True)), **one} for key, one in sorted(found.items())]
    return rows[:MAX_WORKLOADS], max(0, len(rows) - MAX_WORKLOADS)


def _ready(runtimes: Sequence[Document], generation: int, before: Sequence[Document], sight: Sight) -> dict[str, Any]:
    states = {one["name"]: one.get("selfTest", {}) for one in runtimes}
    failed = [f"{name}: {one['message']}" for name, one in states.items() if one.get("state") == "Failed"]
    if sight.hardware.notes:
        status, reason, message = "False", "HardwareFaulty", "; ".join(sight.hardware.notes)
    elif failed:
        status, reason, message = "False", "SelfTestFailed", "; ".join(failed)
    elif not runtimes:
        status, reason, message = "False", "NoRuntimeFits", "no runtime is wanted here"
    elif all(one.get("state") == "Passed" for one in states.values()):
        status, reason, message = "True", "SelfTestPassed", "every wanted runtime passed its self-test"
    else:
        status, reason, message = "False", "SelfTestRunning", "a self-test is not over"
    told: Document = {
        "type": reasons.READY,
        "status": status,
        "reason": reasons.reason(reason),
        "message": message[:512],
        "observedGeneration": generation,
    }
    same = [one for one in before if one["type"] == reasons.READY and one["status"] == status]
    return {**told, "lastTransitionTime": same[0]["lastTransitionTime"] if same else sight.now}
