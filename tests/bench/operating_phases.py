"""What an operator does in a cluster of some size, phase by phase; each begins where the one before left off."""

from __future__ import annotations

import argparse
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from statistics import median
from typing import Any, Final

from bench.cluster_sight import Sight
from hpi_operator.kube.resources import DEPLOYMENTS, NAMESPACES, NODES, PIPELINES
from hpi_operator.rights import LEASE
from support.audit import AuditLog, Call, now, told
from support.eventually import eventually
from support.observed import CPU_RUNTIME
from support.operated import Site
from support.operators import USER, OperatorProcess

AT_ONCE: Final = 8
"""Clients that apply pipelines side by side."""
LEASE_SECONDS: Final = 60
"""Of `hpi-operator run` where nothing else is said."""
PATIENCE_SECONDS: Final = 900.0
MEBIBYTE: Final = 2**20


@dataclass(frozen=True)
class Row:
    """One figure."""

    what: str
    value: float
    unit: str
    limit: float | None = None
    """What it is meant to be at most. None: it was never said."""
    beside: str = ""

    def document(self) -> dict[str, Any]:
        """Return it as JSON."""
        return asdict(self)


@dataclass
class Course:
    """The cluster, what is seen of it, and the operators that run."""

    site: Site
    sight: Sight
    log: AuditLog
    options: argparse.Namespace
    say: Callable[[str], None]
    running: list[OperatorProcess] = field(default_factory=list)

    def start(self, name: str) -> OperatorProcess:
        """Start an operator with its usual settings."""
        operator = OperatorProcess(self.site.cluster, name=name)
        self.running.append(operator)
        return operator.start()

    @property
    def operator(self) -> OperatorProcess:
        """The one that acts."""
        return self.running[0]

    def end(self) -> None:
        """Stop what still runs."""
        while self.running:
            self.running.pop().__exit__(None, None, None)

    def writes(self, since: datetime, until: datetime | None = None) -> list[Call]:
        """Return what the operator wrote, the Lease of its election left out."""
        calls = self.log.writes(user=USER, since=since, until=until)
        return [call for call in calls if (call.resource.partition("/")[0], call.name) != (LEASES_NAME, LEASE)]


LEASES_NAME: Final = "leases.coordination.k8s.io"


def nodes_usable(course: Course) -> Iterator[Row]:
    """Start the operator in a cluster that has only nodes, and wait until pods may land on all of them."""
    course.say("starting the operator; every node is tested once")
    begun = time.monotonic()
    operator = course.start("operator").wait_until_whole()
    whole = time.monotonic() - begun
    label = f"runtime.hpi.paddlex.io/{CPU_RUNTIME}"

    def usable() -> bool:
        found, _ = course.site.client.items(NODES.path(), labelSelector=label)
        course.say(f"  {len(found)} of {course.options.nodes} nodes are usable")
        return bool(len(found) >= course.options.nodes)

    eventually(usable, PATIENCE_SECONDS, pause_seconds=5.0)
    took = time.monotonic() - begun
    operator.wait_until_idle(PATIENCE_SECONDS)
    yield Row("start with an empty picture → all of the cluster seen", round(whole, 1), "s")
    beside = f"HPINode, self-test pod and label for each of {course.options.nodes} nodes"
    yield Row("first start → every node has passed its self-test", round(took, 1), "s", beside=beside)


def quiet(course: Course) -> Iterator[Row]:
    """Apply one pipeline after the other, each when the cluster rests again."""
    namespace = course.site.make_namespace("bench-quiet")
    course.say(f"applying {course.options.applies} pipelines one by one")
    delays = []
    for index in range(course.options.applies):
        name = f"ocr-{index}"
        begun = time.monotonic()
        course.site.create(namespace, name, replicas=1)
        delays.append(1000 * (course.sight.deployment(namespace, f"{name}-cpu") - begun))
        course.operator.wait_until_idle(quiet_looks=2)
    delays.sort()
    beside = f"{len(delays)} applied one by one, {course.options.nodes} nodes; the longest {delays[-1]:.0f} ms"
    yield Row("apply → Deployment, median", round(median(delays)), "ms", 300, beside)
    yield Row("apply → Deployment, 99th percentile", round(delays[int(0.99 * (len(delays) - 1))]), "ms", 1000)
    _remove(course, namespace)


def burst(course: Course) -> Iterator[Row]:
    """Apply all pipelines at once and wait until every one is ready and the operator rests."""
    options, namespace = course.options, course.site.make_namespace("bench-burst")
    course.say(f"applying {options.pipelines} pipelines at once")
    since, begun = now(), time.monotonic()
    with ThreadPoolExecutor(AT_ONCE) as pool:
        list(
            pool.map(lambda index: course.site.create(namespace, f"ocr-{index}", replicas=1), range(options.pipelines))
        )
    applied = time.monotonic() - begun

    def all_ready() -> bool:
        ready, deployments = len(course.sight.ready(namespace)), len(course.sight.deployments(namespace))
        course.say(f"  {deployments} Deployments, {ready} of {options.pipelines} pipelines ready")
        return bool(ready >= options.pipelines)

    eventually(all_ready, PATIENCE_SECONDS, pause_seconds=5.0)
    course.operator.wait_until_idle(PATIENCE_SECONDS)
    writes = course.writes(since)
    of_pipelines = [call for call in writes if call.namespace == namespace]
    course.say(told(writes, "verb", "resource", "code"))
    beside = f"the {options.pipelines} were applied within {applied:.1f} s; write bucket 50 a second, 100 at once"
    deployments = course.sight.deployments(namespace)[options.pipelines - 1] - begun
    yield Row(f"{options.pipelines} at once → all Deployments", round(deployments, 1), "s", 60, beside)
    ready = course.sight.ready(namespace)[options.pipelines - 1] - begun
    yield Row(f"{options.pipelines} at once → all ready", round(ready, 1), "s", 120)
    events = sum(call.resource.startswith("events") for call in of_pipelines)
    per_pipeline = len(of_pipelines) / options.pipelines
    beside = f"of them {events / options.pipelines:.1f} events; {len(writes) - len(of_pipelines)} writes beside them"
    yield Row("writes a pipeline", round(per_pipeline, 2), "", 12, beside)
    peak = _memory(course.operator, "VmHWM")
    beside = f"now {course.operator.resident_bytes / MEBIBYTE:.0f} MiB; {options.nodes} nodes"
    yield Row("operator's memory, most so far", round(peak / MEBIBYTE), "MiB", 300, beside)


def idle(course: Course) -> Iterator[Row]:
    """Do nothing for a while."""
    seconds = course.options.idle_seconds
    course.say(f"resting for {seconds} s")
    since, used = now(), course.operator.processor_seconds
    time.sleep(seconds)
    writes = course.writes(since)
    own = len(course.log.writes(user=USER, since=since)) - len(writes)
    beside = f"{own} of its Lease; {told(writes, 'verb', 'resource', 'name') if writes else 'nothing else'}"
    yield Row(f"writes in {seconds} s of rest, the Lease left out", len(writes), "", 0, beside)
    millicores = 1000 * (course.operator.processor_seconds - used) / seconds
    yield Row("operator's processor at rest", round(millicores, 1), "millicores")


def restart(course: Course) -> Iterator[Row]:
    """Stop the operator and start it again."""
    course.say("restarting the operator")
    course.running.pop().stop()
    since, begun = now(), time.monotonic()
    operator = course.start("restarted").wait_until_whole()
    whole = time.monotonic() - begun
    operator.wait_until_idle(PATIENCE_SECONDS)
    rested = time.monotonic() - begun
    writes = course.writes(since)
    beside = f"every object was looked at after {rested:.1f} s"
    yield Row("restart → picture whole", round(whole, 1), "s", 20, beside)
    beside = told(writes, "verb", "resource", "name") if writes else ""
    yield Row("writes after a restart, the Lease left out", len(writes), "", 0, beside)


def killed(course: Course) -> Iterator[Row]:
    """Kill the operator that acts while another waits, and let somebody apply a pipeline at that moment."""
    namespace = course.site.make_namespace("bench-killed")
    follower = course.start("follower")
    eventually(lambda: follower.probe("/readyz")[0] == 200, PATIENCE_SECONDS)
    generations = _generations(course)
    course.say("killing the operator that acts")
    leader = course.running.pop(0)
    leader.kill()
    since, begun = now(), time.monotonic()
    course.site.create(namespace, "ocr", replicas=1)
    acted = course.sight.deployment(namespace, "ocr-cpu", PATIENCE_SECONDS) - begun
    follower.wait_until_idle(PATIENCE_SECONDS)
    others = [call for call in course.writes(since) if call.namespace != namespace]
    changed = Counter(_generations(course)[key] != generation for key, generation in generations.items())[True]
    beside = f"Lease of {LEASE_SECONDS} s; a pipeline that was applied at that moment has its Deployment"
    yield Row("leader killed → the other has acted", round(acted, 1), "s", LEASE_SECONDS, beside)
    beside = f"{len(generations)} Deployments; {told(others, 'verb', 'resource') if others else 'nothing was written'}"
    yield Row("objects that the other applied with a difference", changed, "", 0, beside)


def _generations(course: Course) -> dict[tuple[str, str], int]:
    found, _ = course.site.client.items(DEPLOYMENTS.path())
    return {
        (one["metadata"]["namespace"], one["metadata"]["name"]): one["metadata"]["generation"]
        for one in found
        if one["metadata"]["namespace"] != "bench-killed"
    }


def _remove(course: Course, namespace: str) -> None:
    course.site.client.request("DELETE", PIPELINES.path(namespace))
    course.site.delete(NAMESPACES, "", namespace)
    path = NAMESPACES.path(None, namespace)
    eventually(lambda: course.site.client.find(path) is None, PATIENCE_SECONDS, pause_seconds=1.0)
    course.operator.wait_until_idle(PATIENCE_SECONDS)


def _memory(operator: OperatorProcess, field_name: str) -> int:
    status = Path(f"/proc/{operator.process.pid}/status").read_text(encoding="ascii")
    return int(next(line.split()[1] for line in status.splitlines() if line.startswith(f"{field_name}:"))) * 1024
