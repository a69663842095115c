"""`nodes`: what each node offers, has, and does."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, Literal

from pydantic import Field

from hpi_core import reasons
from hpi_operator.kubectl.reports.base import REPORT_VERSION, Counts, Report, ReportVersion, Summary
from hpi_operator.kubectl.reports.documents import Document, conditions, counts, listed, name_of, part, summary

NOBODY: Final = "its agent has not reported"


class RuntimeOnNode(Report):
    """A runtime that the node shall have, or has."""

    name: str
    """Name of the HPIRuntime."""
    wanted: bool
    """Whether the node shall have it."""
    state: str
    """`Usable`, `Installed`, `Installing`, `Pulling`, `Failed`, or `Absent`: the agent has said nothing of it."""
    self_test: str = ""
    """`Passed`, `Failed`, `Running`; empty: none yet."""
    message: str = ""
    """What the self-test said; before it, how far the installation is."""
    backends: tuple[str, ...] = ()
    """Backends that the self-test has seen work."""


class WorkloadLine(Report):
    """Serving pods of one revision on the node."""

    namespace: str
    """Namespace of the pipeline."""
    pipeline: str
    """Name of the pipeline."""
    revision: str
    """Name of the revision."""
    engine_active: Counts
    """Its pods by how their engines came to be."""
    engines: tuple[str, ...] = ()
    """HPIEngines in use."""
    message: str = ""
    """Why pods are not on measured engines."""


class DriverLine(Report):
    """One vendor's driver."""

    vendor: str
    """`NVIDIA` or `Ascend`."""
    version: str | None = None
    """Version of the kernel driver. Absent: it is not loaded."""
    toolkit: str | None = None
    """Newest CUDA that it serves, or the installed CANN."""


class NodeLine(Report):
    """One node."""

    name: str
    """Its name."""
    pool: str = ""
    """The HPINodePool that has it."""
    ready: Summary
    """What its agent says."""
    processors: str = ""
    """Processors in words."""
    cores: int = 0
    """Physical cores."""
    memory_bytes: int | None = None
    """Main memory. Unit: bytes."""
    devices: tuple[str, ...] = ()
    """Accelerators in words: `2 x NVIDIA L4 (8.9, 24 GB)`."""
    drivers: tuple[DriverLine, ...] = ()
    """Drivers."""
    notes: tuple[str, ...] = ()
    """What is broken, or could not be read."""
    runtimes: tuple[RuntimeOnNode, ...] = ()
    """Runtimes, those that failed first."""
    cache_used_bytes: int = 0
    """What its cache holds. Unit: bytes."""
    cache_quota_bytes: int = 0
    """Most that it may hold. Unit: bytes."""
    cache_entries: int = 0
    """Engines, models and plugins in it."""
    engines: dict[str, int] = Field(default_factory=dict)
    """Wanted engines by their state on the node: `Cached`, `Fetching`, `Building`, `Absent`."""
    workloads: tuple[WorkloadLine, ...] = ()
    """Serving pods by pipeline and revision."""
    workloads_omitted: int = 0
    """Pairs of pipeline and revision that found no place in the HPINode."""
    upgrade: str = ""
    """Where it stands in an upgrade."""
    agent_version: str = ""
    """Version of the agent."""


class NodeList(Report):
    """Answer of `kubectl hpi nodes -o json`."""

    api_version: ReportVersion = REPORT_VERSION
    """Version of the form."""
    kind: Literal["NodeList"] = "NodeList"
    """Which report it is."""
    items: tuple[NodeLine, ...]
    """The broken ones first, then by name."""


def node_list(hpi_nodes: Iterable[Document]) -> NodeList:
    """Return the report on nodes."""
    return NodeList(items=tuple(sorted((node_line(one) for one in hpi_nodes), key=_urgency)))


def node_line(hpi_node: Document) -> NodeLine:
    """Return what is told of one node."""
    spec, status = part(hpi_node, "spec"), part(hpi_node, "status")
    hardware, processors = part(status, "hardware"), part(status, "hardware", "processors")
    engines: dict[str, int] = {}
    for one in listed(status, "engines"):
        state = str(one.get("state"))
        engines[state] = engines.get(state, 0) + 1
    upgrade = part(status, "upgrade")
    return NodeLine(
        name=name_of(hpi_node),
        pool=str(spec.get("pool") or ""),
        ready=node_summary(hpi_node),
        processors=", ".join(str(processors[name]) for name in ("model", "isaLevel") if processors.get(name)),
        cores=int(processors.get("cores") or 0),
        memory_bytes=hardware.get("memoryBytes"),
        devices=tuple(device_words(one) for one in listed(hardware, "devices")),
        drivers=tuple(
            DriverLine(vendor=str(one.get("vendor")), version=one.get("version"), toolkit=one.get("toolkit"))
            for one in listed(hardware, "drivers")
        ),
        notes=tuple(str(one) for one in hardware.get("notes") or ()),
        runtimes=tuple(runtimes_on(hpi_node)),
        cache_used_bytes=int(part(status, "cache").get("usedBytes") or 0),
        cache_quota_bytes=int(part(status, "cache").get("quotaBytes") or 0),
        cache_entries=int(part(status, "cache").get("entries") or 0),
        engines=dict(sorted(engines.items())),
        workloads=tuple(_workload(one) for one in listed(status, "workloads")),
        workloads_omitted=int(status.get("workloadsOmitted") or 0),
        upgrade=": ".join(str(upgrade[name]) for name in ("state", "reason") if upgrade.get(name)),
        agent_version=str(status.get("agentVersion") or ""),
    )


def node_summary(hpi_node: Document) -> Summary:
    """Return what the agent says of its node; where it says nothing, that it does not."""
    if reasons.READY not in conditions(hpi_node):
        return Summary(status="Unknown", reason="NoReport", message=NOBODY)
    return summary(hpi_node, NOBODY)


def runtimes_on(hpi_node: Document) -> list[RuntimeOnNode]:
    """Return the runtimes that a node shall have or has, those that failed first, those that are absent next."""
    wanted = [str(one.get("name")) for one in listed(hpi_node, "spec", "runtimes")]
    there = {str(one.get("name")): one for one in listed(hpi_node, "status", "runtimes")}
    lines = []
    for name in dict.fromkeys([*wanted, *there]):
        one = there.get(name, {})
        test = part(one, "selfTest")
        lines.append(
            RuntimeOnNode(
                name=name,
                wanted=name in wanted,
                state=str(one.get("state") or "Absent"),
                self_test=str(test.get("state") or ""),
                message=str(test.get("message") or one.get("message") or ""),
                backends=tuple(str(backend) for backend in one.get("backends") or ()),
            )
        )
    order = {"Failed": 0, "Absent": 1, "Usable": 3}
    return sorted(lines, key=lambda one: (order.get(one.state, 2), one.name))


def device_words(device: Document) -> str:
    """Return accelerators of one sort in words."""
    facts = [str(device[name]) for name in ("computeCapability", "chip") if device.get(name)]
    if device.get("memoryBytes"):
        facts.append(f"{int(device['memoryBytes']) / 2**30:.0f} GiB")
    if device.get("slice"):
        facts.append(f"slice {device['slice']}")
    name = device.get("product") or device.get("name") or device.get("vendor") or "?"
    return f"{device.get('count', '?')} x {name}" + (f" ({', '.join(facts)})" if facts else "")


def _workload(written: Document) -> WorkloadLine:
    return WorkloadLine(
        namespace=str(written.get("namespace")),
        pipeline=str(written.get("pipeline")),
        revision=str(written.get("revision")),
        engine_active=counts(part(written, "engineActive")),
        engines=tuple(str(one) for one in written.get("engines") or ()),
        message=str(written.get("message") or ""),
    )


def _urgency(line: NodeLine) -> tuple[int, str]:
    return {"False": 0, "Unknown": 1, "True": 2}[line.ready.status], line.name
