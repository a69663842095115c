"""What decisions of the operator look at, as a test tells it: `observed(a_pipeline(), supply=[a_node_group(gpus=2)])`.

Nodes come from `support.nodes` and are seen and grouped by the operator's own code, so that a decision sees them here
as it does in a cluster.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta, timezone
from typing import Any, Final

from hpi_core.api.base import API_VERSION
from hpi_core.api.v1alpha1.node import HPINode
from hpi_core.api.v1alpha1.node_pool import HPINodePool
from hpi_core.api.v1alpha1.pipeline import HPIPipeline
from hpi_core.api.v1alpha1.runtime import HPIRuntime
from hpi_core.names import USABLE, node_runtime_label
from hpi_operator.configuration import accelerators_document
from hpi_operator.observe.projections import node as seen_node
from hpi_operator.observe.supply import group_nodes
from hpi_operator.plan.accelerators import ClassData, ClassName, read_classes
from hpi_operator.plan.intent import Manifest, ObjectKey
from hpi_operator.plan.observed import NodeGroup, NodeView, ObservedNode, ObservedPipeline, PodView, Settings
from support.manifests import Document
from support.nodes import PlayedNode, a_node

NOW: Final = datetime(2026, 3, 1, 10, 0, 0, tzinfo=timezone.utc)
UID: Final = "5b0f6c1e-0000-4000-8000-000000000001"
SETTINGS: Final = Settings(namespace="hpi-system")
NAMESPACE: Final = "team-a"
CPU_RUNTIME: Final = "hpi-cpu-1.0.0"
GPU_RUNTIME: Final = "hpi-gpu-1.0.0"
NPU_RUNTIME: Final = "hpi-npu-1.0.0"
ALL_RUNTIMES: Final = (CPU_RUNTIME, GPU_RUNTIME, NPU_RUNTIME)

CLASSES: Final[Mapping[ClassName, ClassData]] = read_classes(accelerators_document())
"""The classes of hardware that ship with the project."""

_RUNTIMES: Final[Mapping[str, tuple[str, Document]]] = {
    "CPU": ("hpi-cpu", {"backends": ["openvino", "onnxruntime"]}),
    "NVIDIA": ("hpi-gpu-cu126", {"backends": ["tensorrt", "onnxruntime"], "cuda": {"version": "12.6"}}),
    "Ascend": ("hpi-npu-cann8", {"backends": ["om"], "cann": {"version": "8.0.RC3"}}),
}


def a_digest(letter: str) -> str:
    """Return a digest of one hexadecimal digit."""
    return f"sha256:{letter * 64}"


def a_pipeline(name: str = "ocr", *, status: Document | None = None, **spec: Any) -> HPIPipeline:
    """Return a pipeline of PaddleX's registry, with fields of its spec set as they are written in a manifest.

    The value `...` takes a field out.
    """
    written = {key: value for key, value in {"pipeline": "OCR", **spec}.items() if value is not ...}
    return HPIPipeline.model_validate(
        {
            "apiVersion": API_VERSION,
            "kind": "HPIPipeline",
            "metadata": {"name": name, "namespace": NAMESPACE},
            "spec": written,
            **({} if status is None else {"status": status}),
        }
    )


def on(*classes: ClassName, policy: str = "First", **fields: Any) -> Document:
    """Return a placement: classes in order of wish; fields are those of each entry."""
    return {"accelerators": [{"class": one, **fields} for one in classes], "policy": policy}


def a_runtime(
    name: str = CPU_RUNTIME,
    accelerator: ClassName = "CPU",
    *,
    version: str = "1.0.0",
    architectures: Iterable[str] = ("amd64",),
    letter: str = "a",
    index: bool = False,
    **spec: Any,
) -> HPIRuntime:
    """Return a runtime.

    Args:
        name: Its name.
        accelerator: Hardware that it is for.
        version: Its version.
        architectures: Those that it has images for.
        letter: Digit of the image's digest, and of the lock's.
        index: Whether one image serves all architectures; else each has one of its own.
        spec: Other fields, as they are written in a manifest.
    """
    variant, fields = _RUNTIMES[accelerator]
    images = [
        {"architecture": one, "image": f"registry.example/{variant}{'' if index else '-' + one}@{a_digest(letter)}"}
        for one in architectures
    ]
    return HPIRuntime.model_validate(
        {
            "apiVersion": API_VERSION,
            "kind": "HPIRuntime",
            "metadata": {"name": name},
            "spec": {
                "variant": variant,
                "version": version,
                "images": images,
                "lockDigest": a_digest(letter),
                "accelerator": accelerator,
                "architectures": list(architectures),
                "python": "3.11",
                **fields,
                **spec,
            },
        }
    )


def usual_runtimes() -> tuple[HPIRuntime, ...]:
    """Return one runtime for each class of hardware."""
    return (a_runtime(), a_runtime(GPU_RUNTIME, "NVIDIA"), a_runtime(NPU_RUNTIME, "Ascend"))


def a_seen_node(played: PlayedNode, *, usable: Iterable[str] = ALL_RUNTIMES, uid: str | None = None) -> NodeView:
    """Return a node as the operator sees it, labelled for runtimes whose self-test has passed."""
    labels = {**played.manifest["metadata"]["labels"], **{node_runtime_label(one): USABLE for one in usable}}
    metadata = {**played.manifest["metadata"], "labels": labels, "uid": uid or uid_of(played.name)}
    return seen_node({**played.manifest, "metadata": metadata})


def an_hpi_node(played: PlayedNode, **parts: Document) -> HPINode:
    """Return the HPINode of a node whose agent has reported its hardware; parts are of `spec` and `status`."""
    return HPINode.model_validate(
        {
            "apiVersion": API_VERSION,
            "kind": "HPINode",
            "metadata": {"name": played.name},
            "spec": {"nodeUid": uid_of(played.name), **parts.get("spec", {})},
            "status": {
                "hardware": played.hardware.model_dump(mode="json", by_alias=True, exclude_none=True),
                **parts.get("status", {}),
            },
        }
    )


def uid_of(name: str) -> str:
    """Return the UID of a node of a name."""
    return f"00000000-0000-4000-8000-{abs(hash_of(name)) % 10**12:012d}"


def hash_of(text: str) -> int:
    """Return a number of a text, the same in every process."""
    return int.from_bytes(text.encode()[:16].ljust(16, b"\0"), "big")


def a_supply(
    *nodes: PlayedNode,
    usable: Iterable[str] = ALL_RUNTIMES,
    reported: bool = True,
    asked: Iterable[str] = (),
    runtimes: Iterable[str] = ALL_RUNTIMES,
) -> tuple[NodeGroup, ...]:
    """Return nodes as decisions see them: in groups of equals.

    Args:
        nodes: The nodes.
        usable: Runtimes whose self-test has passed on each.
        reported: Whether the agent of each has reported.
        asked: Labels that the pipeline asks for.
        runtimes: Names of all runtimes.
    """
    pairs = [(a_seen_node(one, usable=usable), an_hpi_node(one) if reported else None) for one in nodes]
    labels = frozenset().union(*(one.label_keys for one in CLASSES.values()), asked)
    return group_nodes(pairs, labels, runtimes)


def a_node_group(name: str = "n", *, count: int = 1, usable: Iterable[str] = ALL_RUNTIMES, **node: Any) -> NodeGroup:
    """Return equal nodes as one group; fields are those of `support.nodes.a_node`."""
    nodes = (a_node(f"{name}-{number}", **node) for number in range(count))
    [group] = a_supply(*nodes, usable=usable, runtimes={*ALL_RUNTIMES, *usable})
    return group


def a_pod(
    name: str = "ocr-cpu-1",
    *,
    revision: str = "",
    class_: str = "cpu",
    track: str = "stable",
    ready: bool = True,
    node: str | None = "n-0",
    age_seconds: float = 0.0,
    **fields: Any,
) -> PodView:
    """Return a pod of a pipeline."""
    return PodView(
        name=name,
        uid=f"uid-{name}",
        revision=revision,
        class_=class_,
        track=track,
        node=node,
        phase=fields.pop("phase", "Running" if ready else "Pending"),
        ready=ready,
        created_at=NOW - timedelta(seconds=age_seconds),
        **fields,
    )


def a_waiting_pod(name: str, *, seconds: float, class_: str = "nvidia", **fields: Any) -> PodView:
    """Return a pod that has waited for a node for so long."""
    return a_pod(
        name,
        class_=class_,
        ready=False,
        node=None,
        unschedulable_since=NOW - timedelta(seconds=seconds),
        message="0/1 nodes are available: 1 Insufficient nvidia.com/gpu.",
        **fields,
    )


def observed(
    pipeline: HPIPipeline | None = None,
    *,
    supply: Iterable[NodeGroup] | None = None,
    runtimes: Iterable[HPIRuntime] | None = None,
    children: Iterable[Manifest] = (),
    uid: str = UID,
    **fields: Any,
) -> ObservedPipeline:
    """Return everything that the decision for a pipeline looks at; a node of processors unless told otherwise."""
    return ObservedPipeline(
        pipeline=pipeline or a_pipeline(),
        uid=uid,
        generation=fields.pop("generation", 1),
        created_at=NOW,
        supply=tuple([a_node_group(count=3)] if supply is None else supply),
        runtimes=tuple(usual_runtimes() if runtimes is None else runtimes),
        now=fields.pop("now", NOW),
        settings=fields.pop("settings", SETTINGS),
        children={key_of_live(one): one for one in children},
        **fields,
    )


def key_of_live(manifest: Manifest) -> ObjectKey:
    """Return what names a live object."""
    metadata = manifest["metadata"]
    return ObjectKey(manifest["apiVersion"], manifest["kind"], metadata.get("namespace", ""), metadata["name"])


def a_pool(name: str = "default", **spec: Any) -> HPINodePool:
    """Return a pool, of every node unless it selects some."""
    return HPINodePool.model_validate(
        {"apiVersion": API_VERSION, "kind": "HPINodePool", "metadata": {"name": name}, "spec": spec}
    )


def an_observed_node(
    played: PlayedNode,
    *,
    pools: Iterable[HPINodePool] | None = None,
    runtimes: Iterable[HPIRuntime] | None = None,
    hpi_node: HPINode | None = None,
    labels: Mapping[str, str] | None = None,
    **fields: Any,
) -> ObservedNode:
    """Return everything that the decision for a node looks at; it has no label of a runtime unless told otherwise."""
    view = a_seen_node(played, usable=())
    pool_list = tuple([a_pool()] if pools is None else pools)
    return ObservedNode(
        node=NodeView(**{**vars(view), "labels": {**view.labels, **(labels or {})}}),
        hpi_node=hpi_node,
        hpi_node_live=None,
        pools=pool_list,
        pool_ages={one.metadata.name: NOW for one in pool_list},
        runtimes=tuple(usual_runtimes() if runtimes is None else runtimes),
        self_tests=tuple(fields.pop("self_tests", ())),
        wanted_engines=tuple(fields.pop("wanted_engines", ())),
        now=NOW,
        settings=SETTINGS,
        **fields,
    )
