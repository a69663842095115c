"""The status of pools and runtimes: counts, the nodes that wait longest, and why."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from hpi_core import reasons
from hpi_core.api.v1alpha1.node import HPINode
from hpi_core.api.v1alpha1.node_pool import MAX_EXAMPLES, HPINodePool
from hpi_core.moments import stamp
from hpi_operator.plan.conditions import Observation, merged, observation, readiness, shortened
from hpi_operator.plan.delivery import STORE, forbidden, forbids_host_paths
from hpi_operator.plan.intent import Event, Plan
from hpi_operator.plan.membership import pools_of, selects
from hpi_operator.plan.observed import NodeView, ObservedPool, ObservedRuntime
from hpi_operator.plan.stuck_self_tests import REASON, stuck_on_nodes

_Member = tuple[NodeView, HPINode | None, tuple[HPINodePool, ...]]
"""A node, what is known of it, and the pools that select it, the one that has it first."""

DONE: Final = "Done"
WAITING: Final = "Waiting"
INSTALLING: Final = "Installing"
FAILED: Final = "Failed"


def plan_pool(observed: ObservedPool) -> Plan:
    """Return the status of one pool."""
    pool = observed.pool
    members: list[_Member] = []
    lost: list[_Member] = []
    for node, hpi_node in observed.nodes:
        if not selects(pool.spec.node_selector, node.labels):
            continue
        owners = pools_of(node.labels, (pool, *observed.others), observed.pool_ages)
        (members if owners[0].metadata.name == pool.metadata.name else lost).append((node, hpi_node, owners))
    states = {node.name: _state(hpi_node) for node, hpi_node, _ in members}
    told = list(_observations(observed, members, lost, states))
    told.append(readiness(told, (reasons.UP_TO_DATE,)))
    old = () if pool.status is None else pool.status.conditions
    waiting = sorted(name for name, (state, _) in states.items() if state != DONE)[:MAX_EXAMPLES]
    since = {one.node: one.since for one in pool.status.waiting} if pool.status is not None else {}
    counts = {
        state: sum(one == state for one, _ in states.values()) for state in sorted({one for one, _ in states.values()})
    }
    status: dict[str, Any] = {
        "observedGeneration": observed.generation,
        "conditions": merged(old, told, observed.generation, observed.now),
        "nodes": len(members),
        "readyNodes": sum(node.ready and states[node.name][0] == DONE for node, _, _ in members),
        "states": [{"state": state, "nodes": count} for state, count in counts.items()],
        "waiting": [
            {
                "node": name,
                "state": states[name][0],
                "reason": states[name][1],
                "since": since.get(name, stamp(observed.now)),
            }
            for name in waiting
        ],
    }
    was = next((one.status for one in old if one.type == reasons.OVERLAPPING), "False")
    overlapping = next(one for one in told if one.type == reasons.OVERLAPPING)
    events = (Event("PoolsOverlap", overlapping.message, "Warning"),) if overlapping.status == "True" != was else ()
    return Plan(status={key: value for key, value in status.items() if value != []}, events=events)


def _observations(
    observed: ObservedPool, members: list[_Member], lost: list[_Member], states: dict[str, tuple[str, str]]
) -> Iterator[Observation]:
    known = {one.metadata.name for one in observed.runtimes}
    missing = sorted(set(observed.pool.spec.runtimes) - known)
    rivals = sorted(
        {owner.metadata.name for _, _, owners in (*members, *lost) for owner in owners} - {observed.pool.metadata.name}
    )
    if rivals:
        shared = sum(len(owners) > 1 for _, _, owners in (*members, *lost))
        names = ", ".join(rivals)
        message = f"nodes that {names} selects too: {shared}; of those, an older pool has {len(lost)}"
        yield observation(reasons.OVERLAPPING, True, "PoolsOverlap", message)
    else:
        yield observation(reasons.OVERLAPPING, False, "NoOverlap")
    late = sorted(name for name, (state, _) in states.items() if state != DONE)
    if missing:
        yield observation(reasons.UP_TO_DATE, False, "NoSuchRuntime", f"spec.runtimes names {', '.join(missing)}")
    elif late:
        first = late[0]
        message = f"{len(late)} of {len(states)} nodes wait; {first}: {states[first][1]}"
        yield observation(reasons.UP_TO_DATE, False, "NodesWaiting", message)
    else:
        yield observation(reasons.UP_TO_DATE, True, "AsWanted")


def _state(hpi_node: HPINode | None) -> tuple[str, str]:
    """Return how far a node is, and what it waits for."""
    if hpi_node is None or hpi_node.status is None:
        return WAITING, "its agent has not reported"
    if not hpi_node.spec.runtimes:
        return WAITING, "no allowed runtime fits its hardware"
    have = {one.name: one for one in hpi_node.status.runtimes}
    for wanted in hpi_node.spec.runtimes:
        one = have.get(wanted.name)
        if one is None or one.lock_digest != wanted.lock_digest:
            return WAITING, f"{wanted.name} is not there yet"
        if one.self_test is None and one.state == FAILED:
            return FAILED, shortened(f"{wanted.name} is not installed: {one.message}", 256)
        if one.self_test is None and one.state == INSTALLING:
            return WAITING, shortened(f"{wanted.name} is being installed: {one.message}", 256)
        if one.self_test is None or one.self_test.state not in ("Passed", "Failed"):
            return WAITING, f"the self-test of {wanted.name} is not over"
        if one.self_test.state == "Failed":
            return FAILED, shortened(f"{wanted.name}: {one.self_test.message}", 256)
    return DONE, ""


def plan_runtime(observed: ObservedRuntime) -> Plan:
    """Return the status of one runtime."""
    name, spec = observed.runtime.metadata.name, observed.runtime.spec
    wanted = [one for one in observed.nodes if any(runtime.name == name for runtime in one.spec.runtimes)]
    installed, usable, failed, coming, broken, last = 0, 0, 0, 0, 0, ""
    for node in sorted(wanted, key=lambda one: one.metadata.name):
        found = [one for one in (node.status.runtimes if node.status else ()) if one.name == name]
        if not found or found[0].lock_digest != spec.lock_digest:
            continue
        test = found[0].self_test
        if test is None and found[0].state in (INSTALLING, FAILED):
            coming += found[0].state == INSTALLING
            if found[0].state == FAILED:
                broken += 1
                last = last or shortened(f"{node.metadata.name}: {found[0].message}", 256)
            continue
        installed += 1
        usable += test is not None and test.state == "Passed"
        if test is not None and test.state == "Failed":
            failed += 1
            last = last or shortened(f"{node.metadata.name}: {test.message}", 256)
    stuck, stuck_nodes = stuck_on_nodes(observed.runtime, observed.self_tests)
    last = last or stuck
    if usable:
        one = observation(reasons.USABLE, True, "SelfTestPassed", f"on {usable} of {len(wanted)} nodes")
    elif spec.delivery == STORE and forbids_host_paths(observed.pod_security):
        message = forbidden(f"namespace {observed.namespace}, where self-tests run,", observed.pod_security)
        one = observation(reasons.USABLE, False, "HostPathsForbidden", message)
    elif failed:
        one = observation(reasons.USABLE, False, "SelfTestFailed", last)
    elif broken:
        message = f"on {broken} of {len(wanted)} nodes; {last}"
        one = observation(reasons.USABLE, False, "RuntimeInstallFailed", message)
    elif coming:
        message = f"on {coming} of {len(wanted)} nodes"
        one = observation(reasons.USABLE, False, "RuntimeInstalling", message)
    elif stuck:
        message = f"on {stuck_nodes} of {len(wanted)} nodes; {stuck}"
        one = observation(reasons.USABLE, False, REASON, message)
    elif wanted:
        one = observation(reasons.USABLE, False, "SelfTestRunning", f"on none of {len(wanted)} nodes yet")
    else:
        one = observation(reasons.USABLE, "Unknown", "NotUsedYet")
    old = () if observed.runtime.status is None else observed.runtime.status.conditions
    told = [one, readiness([one], (reasons.USABLE,))]
    return Plan(
        status={
            "observedGeneration": observed.generation,
            "conditions": merged(old, told, observed.generation, observed.now),
            "nodes": {"wanted": len(wanted), "installed": installed, "usable": usable, "failed": failed + broken},
            "pipelines": observed.pipelines,
            **({"lastFailure": last} if last else {}),
        }
    )
