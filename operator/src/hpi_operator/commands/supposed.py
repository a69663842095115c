"""What a plan without a cluster supposes where nobody describes one: a node that fits, a runtime that fits."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from typing import Any, Final

from hpi_core.api.base import API_VERSION
from hpi_core.api.v1alpha1.node import HPINode
from hpi_core.api.v1alpha1.node_pool import HPINodePool
from hpi_core.api.v1alpha1.pipeline import HPIPipeline, RuntimeChoice
from hpi_core.api.v1alpha1.placement import Accelerator
from hpi_core.api.v1alpha1.runtime import HPIRuntime
from hpi_core.names import OPERATOR_NAMESPACE, USABLE, node_runtime_label
from hpi_operator.commands.described import Described
from hpi_operator.observe.projections import moment
from hpi_operator.observe.supply import group_nodes
from hpi_operator.plan.accelerators import ClassData, ClassName, Fact
from hpi_operator.plan.node import plan_node
from hpi_operator.plan.observed import NodeGroup, NodeView, ObservedNode, Settings
from hpi_operator.plan.placement import ARCHITECTURE

NO_DIGEST: Final = f"sha256:{'0' * 64}"
AMD64: Final = "amd64"
FIRST_VERSION: Final = "1.0.0"
CONSTRAINT: Final = re.compile(r"(?:>=|==|~=)\s*([0-9][^,]*)")
MEBIBYTE: Final = 2**20
VARIANTS: Final[Mapping[ClassName, str]] = {"CPU": "hpi-cpu", "NVIDIA": "hpi-gpu", "Ascend": "hpi-npu"}
TOOLKITS: Final[Mapping[ClassName, dict[str, Any]]] = {
    "CPU": {},
    "NVIDIA": {"cuda": {"version": "12.6"}},
    "Ascend": {"cann": {"version": "8.0.RC3"}},
}


EVERY_NODE: Final = {"apiVersion": API_VERSION, "kind": "HPINodePool", "metadata": {"name": "every-node"}, "spec": {}}


@dataclass(frozen=True)
class Cluster:
    """What decisions look at."""

    supply: tuple[NodeGroup, ...]
    runtimes: tuple[HPIRuntime, ...]


def supposed(
    pipeline: HPIPipeline, described: Described, classes: Mapping[ClassName, ClassData]
) -> tuple[Cluster, tuple[str, ...]]:
    """Return the cluster that is described, with what it lacks supposed, and in words what was.

    Args:
        pipeline: The pipeline that is planned.
        described: What files say.
        classes: The classes of hardware as data.
    """
    told: list[str] = []
    first = pipeline.spec.placement.accelerators[0]
    runtimes, nodes = list(described.runtimes), list(described.nodes)
    architecture = next(iter(first.requirements.architectures), AMD64)
    if not runtimes:
        runtimes = [supposed_runtime(pipeline.spec.runtime, first.class_, architecture)]
        told.append(
            f"HPIRuntime {runtimes[0].metadata.name} {runtimes[0].spec.version} for {architecture} "
            "(describe yours with -f: kubectl get hpiruntimes -o yaml)"
        )
    labels = {node_runtime_label(one.metadata.name): USABLE for one in runtimes}
    if not nodes:
        node = supposed_node(first, pipeline.spec.pod_template.node_selector, architecture, classes[first.class_])
        nodes = [replace(node, labels={**node.labels, **labels})]
        devices = ", ".join(f"{name}: {count}" for name, count in node.allocatable.items() if "/" in name)
        told.append(
            f"Node {node.name}, {architecture}" + (f", {devices}" if devices else "") + ", on which the runtime has "
            "passed its self-test (describe yours with -f: kubectl get nodes,hpinodes -o yaml)"
        )
    else:
        pools = described.pools
        if described.hpi_nodes and not pools:
            pools = [HPINodePool.model_validate(EVERY_NODE)]
            told.append("an HPINodePool of every node (describe yours with -f: kubectl get hpinodepools -o yaml)")
        nodes = [_labelled(one, described, pools, runtimes, classes) for one in nodes]
    pairs = [(one, _of(one, described.hpi_nodes)) for one in nodes]
    asked = frozenset(_asked(pipeline)).union(*(one.label_keys for one in classes.values()))
    supply = group_nodes(pairs, asked, [one.metadata.name for one in runtimes])
    return Cluster(supply, tuple(runtimes)), tuple(told)


def _labelled(
    node: NodeView,
    described: Described,
    pools: Sequence[HPINodePool],
    runtimes: Sequence[HPIRuntime],
    classes: Mapping[ClassName, ClassData],
) -> NodeView:
    """Return a node with the labels that the operator would give it by its agent's word, and those that it has."""
    hpi_node = _of(node, described.hpi_nodes)
    if hpi_node is None:
        return node
    seen = ObservedNode(
        node=node,
        hpi_node=hpi_node,
        hpi_node_live=None,
        pools=tuple(pools),
        pool_ages={one.metadata.name: moment(described.pool_ages.get(one.metadata.name)) for one in pools},
        runtimes=tuple(runtimes),
        self_tests=(),
        wanted_engines=(),
        now=datetime.now(timezone.utc),
        settings=Settings(namespace=OPERATOR_NAMESPACE),
        # What others have labelled is left as it is.
        complete=False,
    )
    added = {key: value for key, value in plan_node(seen, classes).labels.items() if value is not None}
    return replace(node, labels={**node.labels, **added})


def _of(node: NodeView, hpi_nodes: Mapping[str, HPINode]) -> HPINode | None:
    found = hpi_nodes.get(node.name)
    return found if found is not None and found.spec.node_uid == node.uid else None


def _asked(pipeline: HPIPipeline) -> Iterable[str]:
    yield from pipeline.spec.pod_template.node_selector
    for one in pipeline.spec.placement.accelerators:
        yield from one.requirements.node_selector


def supposed_runtime(wish: RuntimeChoice | None, class_: ClassName, architecture: str) -> HPIRuntime:
    """Return a runtime that a pipeline's wish takes, for a class of hardware."""
    variant = (wish.variant if wish is not None else None) or VARIANTS[class_]
    bound = CONSTRAINT.search(wish.version_constraint) if wish is not None and wish.version_constraint else None
    version = bound[1].strip() if bound is not None else FIRST_VERSION
    return HPIRuntime.model_validate(
        {
            "apiVersion": API_VERSION,
            "kind": "HPIRuntime",
            "metadata": {"name": (wish.name if wish is not None else None) or f"supposed-{variant}"},
            "spec": {
                "variant": variant,
                "version": version,
                "images": [{"architecture": architecture, "image": f"registry.example/{variant}@{NO_DIGEST}"}],
                "lockDigest": NO_DIGEST,
                "accelerator": class_,
                "backends": ["onnxruntime"],
                "architectures": [architecture],
                "python": "3.11",
                **TOOLKITS[class_],
            },
        }
    )


def supposed_node(accelerator: Accelerator, asked: Mapping[str, str], architecture: str, data: ClassData) -> NodeView:
    """Return a node that has what one entry of a placement asks, and nothing more."""
    needs = accelerator.requirements
    values: dict[Fact, str | None] = {
        "product": next(iter(needs.products), None),
        "computeCapability": needs.min_compute_capability or needs.max_compute_capability,
        "driver": needs.min_driver or needs.max_driver,
        "memoryMebibytes": None if needs.min_memory_bytes is None else str(-(-needs.min_memory_bytes // MEBIBYTE)),
        "chip": next(iter(needs.chips), None),
    }
    labels = {ARCHITECTURE: architecture, **needs.node_selector, **asked}
    for fact, value in values.items():
        ways = data.labels.get(fact, ())
        if value is not None and ways:
            keys = ways[0]
            # A way of one label holds the whole value, one of several a part in each.
            parts = [value.replace(" ", "-")] if len(keys) == 1 else value.split(".")
            labels |= dict(zip(keys, parts, strict=False))
    resource = accelerator.resource_name or next((one for one in data.resources if not one.endswith("*")), None)
    allocatable = {} if resource is None else {resource: accelerator.count or 1}
    name = f"supposed-{data.label}"
    return NodeView(name, f"uid-of-{name}", labels, allocatable)
