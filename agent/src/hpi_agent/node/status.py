"""The whole of HPINode.status as an agent states it, and whether that is news; pure."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from pydantic import ValidationError

from hpi_agent.node.conditions import condition, ready
from hpi_agent.node.on_disk import FAILED as NOT_INSTALLED
from hpi_agent.node.on_disk import INSTALLING, OnDisk
from hpi_agent.node.self_tests import FAILED, PASSED, Result, runtime_rows
from hpi_agent.node.workloads import Told, summed_up
from hpi_core import reasons
from hpi_core.api.base import API_VERSION
from hpi_core.api.v1alpha1.node import MAX_WORKLOADS, Hardware, NodeSpec, NodeStatus
from hpi_core.errors import Refused, Stop

Document = dict[str, Any]

CACHED: Final = "Cached"
ABSENT: Final = "Absent"
BUILDING: Final = "Building"


@dataclass(frozen=True)
class Cache:
    """How full the node's cache is."""

    quota_bytes: int = 0
    used_bytes: int = 0
    entries: int = 0


@dataclass(frozen=True)
class CacheProblem:
    """Why the node's cache does not take what pods bring."""

    reason: Literal["CacheFull", "CacheUnusable"]
    message: str


@dataclass(frozen=True)
class Sight:
    """What an agent knows of its node."""

    hardware: Hardware
    faults: tuple[str, ...] = ()
    """Why devices cannot compute."""
    results: Mapping[str, Result] = field(default_factory=dict)
    """Of self-tests that ended since this agent began, by runtime."""
    on_disk: Mapping[str, OnDisk] = field(default_factory=dict)
    """How far runtimes are that this agent installs, by runtime."""
    words: Sequence[Told] = ()
    """The last words of the pods that still speak."""
    inherited: Sequence[Mapping[str, Any]] = ()
    """Workloads that the agent before this one counted, as long as not every pod can have spoken to this one."""
    engines: Mapping[tuple[str, str], str] = field(default_factory=dict)
    """State of wanted engines by namespace and name; one that is not here is `Absent`."""
    cache: Cache = field(default_factory=Cache)
    cache_problem: CacheProblem | None = None
    """Why the cache does not take what pods bring; None: it does, as far as anybody knows."""
    agent_version: str | None = None


def read_spec(hpi_node: Mapping[str, Any]) -> NodeSpec:
    """Return the spec of an HPINode.

    Raises:
        Refused: It is not what this release knows.
    """
    try:
        return NodeSpec.model_validate(hpi_node.get("spec"))
    except ValidationError as error:
        raise Refused(
            f"the spec of the HPINode is not what this release of the agent reads: {_problems(error)}"
        ) from error


def node_status(hpi_node: Mapping[str, Any], sight: Sight, now: str) -> Document:
    """Return the whole status.

    Args:
        hpi_node: The HPINode as it is; what its status says of runtimes stays.
        sight: What is known.
        now: The time, RFC 3339 in UTC.

    Raises:
        Refused: The spec cannot be read.
        Stop: What would be said is no status; the fields are named.
    """
    spec, before = read_spec(hpi_node), _mapping(hpi_node.get("status"))
    generation = int(hpi_node["metadata"].get("generation", 1))
    runtimes = list(runtime_rows(spec.runtimes, sight.results, before.get("runtimes") or (), sight.on_disk))
    workloads, omitted = summed_up(sight.words)
    if sight.inherited:
        workloads, omitted = _with_inherited(workloads, omitted, sight.inherited)
    status = {
        "observedGeneration": generation,
        "conditions": [_ready(hpi_node, spec, runtimes, sight, now), _cache_ready(hpi_node, sight, now)],
        "hardware": _plain(sight.hardware),
        "runtimes": runtimes,
        "workloads": workloads,
        "workloadsOmitted": omitted,
        "engines": [
            {
                "namespace": one.namespace,
                "name": one.name,
                "state": sight.engines.get((one.namespace, one.name), ABSENT),
            }
            for one in spec.engines
        ],
        "cache": {
            "quotaBytes": sight.cache.quota_bytes,
            "usedBytes": sight.cache.used_bytes,
            "entries": sight.cache.entries,
        },
    }
    if sight.agent_version is not None:
        status["agentVersion"] = sight.agent_version
    try:
        return _plain(NodeStatus.model_validate(status))
    except ValidationError as error:
        raise Stop(f"what this agent would say of its node is not a status: {_problems(error)}") from error


def is_news(status: Document, hpi_node: Mapping[str, Any]) -> bool:
    """Return whether a status says something else than what stands in the HPINode.

    Lists are maps and sets, whose order the API server makes; conditions of other types are somebody else's.
    """
    there = dict(_mapping(hpi_node.get("status")))
    own = {one["type"] for one in status["conditions"]}
    there["conditions"] = [one for one in there.get("conditions") or () if one.get("type") in own]
    return any(_unordered(value) != _unordered(there.get(name)) for name, value in status.items())


def statement(hpi_node: Mapping[str, Any], status: Document) -> Document:
    """Return what is applied: the status of this very HPINode, not of another with the name."""
    metadata = {"name": hpi_node["metadata"]["name"], "uid": hpi_node["metadata"]["uid"]}
    return {"apiVersion": API_VERSION, "kind": "HPINode", "metadata": metadata, "status": status}


def _with_inherited(
    rows: list[Document], omitted: int, inherited: Sequence[Mapping[str, Any]]
) -> tuple[list[Document], int]:
    """Return rows in which pods that were counted before this agent began and have not spoken yet are not given up."""
    spoken = {_key(row): row for row in rows}
    for row in inherited:
        if _pods(row) > _pods(spoken.get(_key(row), {})):
            spoken[_key(row)] = dict(row)
    kept = [spoken[key] for key in sorted(spoken)]
    return kept[:MAX_WORKLOADS], omitted + max(0, len(kept) - MAX_WORKLOADS)


def _key(row: Mapping[str, Any]) -> tuple[str, str, str]:
    return str(row["namespace"]), str(row["pipeline"]), str(row["revision"])


def _pods(row: Mapping[str, Any]) -> int:
    return sum(int(count) for count in _mapping(row.get("engineActive")).values())


def _ready(
    hpi_node: Mapping[str, Any], spec: NodeSpec, runtimes: Sequence[Mapping[str, Any]], sight: Sight, now: str
) -> Document:
    states = {one["name"]: one.get("selfTest", {}) for one in runtimes}
    broken = [f"{one['name']}: {one.get('message', '')}" for one in runtimes if _is_in(one, NOT_INSTALLED)]
    coming = [f"{one['name']}: {one.get('message', '')}" for one in runtimes if _is_in(one, INSTALLING)]
    failed = [f"{name}: {one.get('message', '')}" for name, one in states.items() if one.get("state") == FAILED]
    waiting = [one.name for one in spec.runtimes if states.get(one.name, {}).get("state") not in (PASSED, FAILED)]
    if sight.faults:
        status, reason, message = "False", "HardwareFaulty", "; ".join(sight.faults)
    elif failed:
        status, reason, message = "False", "SelfTestFailed", "; ".join(failed)
    elif broken:
        status, reason, message = "False", "RuntimeInstallFailed", "; ".join(broken)
    elif coming:
        status, reason, message = "False", "RuntimeInstalling", "; ".join(coming)
    elif not spec.runtimes:
        status, reason, message = "False", "NoRuntimeFits", "no runtime is wanted here"
    elif waiting:
        status, reason, message = "False", "SelfTestRunning", f"no self-test has told yet of {', '.join(waiting)}"
    else:
        status, reason, message = "True", "SelfTestPassed", "every wanted runtime passed its self-test"
    return ready(hpi_node, status, reason, message, now)


def _is_in(runtime: Mapping[str, Any], state: str) -> bool:
    """Return whether an installation is in a state; of a runtime that was tested its test is told."""
    return runtime["state"] == state and "selfTest" not in runtime


def _cache_ready(hpi_node: Mapping[str, Any], sight: Sight, now: str) -> Document:
    problem = sight.cache_problem
    if problem is None:
        return condition(hpi_node, reasons.CACHE_READY, "True", "AsWanted", "", now)
    return condition(hpi_node, reasons.CACHE_READY, "False", problem.reason, problem.message, now)


def _problems(error: ValidationError) -> str:
    return "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors()[:4])


def _unordered(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _unordered(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return sorted((_unordered(inner) for inner in value), key=lambda one: json.dumps(one, sort_keys=True))
    return value


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _plain(value: Hardware | NodeStatus) -> Document:
    return value.model_dump(mode="json", by_alias=True, exclude_none=True)
