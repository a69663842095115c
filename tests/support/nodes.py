"""Nodes of a cluster, as their sorts are told of: `a_node("n1", gpus=2)`.

Each is a Node as kubelet, GPU feature discovery or mind-cluster's device plugin leave it, and the hardware that its
node agent finds: two views of one machine.
"""

from __future__ import annotations

import ipaddress
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from hpi_core.api.v1alpha1.node import Hardware
from support.node_devices import CANN, CUDA, DRIVER, NPU_DRIVER, ascend_part, nvidia_part

GIB: Final = 2**30
ADDRESSES: Final = ipaddress.IPv4Network("198.18.128.0/17")
"""Addresses of played nodes: a range for tests of networks (RFC 2544)."""
CAPACITY_PODS: Final = 250

Architecture = Literal["amd64", "arm64"]
Manifest = dict[str, Any]


@dataclass(frozen=True)
class PlayedNode:
    """One node."""

    name: str
    manifest: Manifest
    """The Node, with its status."""
    hardware: Hardware
    """What the node agent finds on it."""


def a_node(
    name: str,
    *,
    architecture: Architecture = "amd64",
    cores: int = 32,
    memory_bytes: int = 128 * GIB,
    gpus: int = 0,
    product: str = "NVIDIA A100-SXM4-40GB",
    shared_by: int = 1,
    mig: Mapping[str, int] | None = None,
    npus: int = 0,
    chip: str = "Ascend310P3",
    vnpus: Mapping[str, int] | None = None,
    driver: str | None = None,
    toolkit: str | None = None,
    labels: Mapping[str, str] | None = None,
    taints: Sequence[str] = (),
    ready: bool = True,
    cordoned: bool = False,
    notes: Sequence[str] = (),
) -> PlayedNode:
    """Return a node; of processors alone unless devices are named.

    Args:
        name: Its name.
        architecture: In Kubernetes' words.
        cores: Physical cores, all of which pods may have.
        memory_bytes: Main memory.
        gpus: NVIDIA GPUs of one product.
        product: A key of `GPUS`.
        shared_by: Pods that may have one GPU at a time, by time slicing.
        mig: Slices by MIG profile (`{"1g.5gb": 7}`), strategy mixed; the GPUs themselves are not offered then.
        npus: Ascend NPUs of one chip; such a node has the taint `huawei.com/npu:NoSchedule`.
        chip: A key of `NPUS`.
        vnpus: Slices by vNPU template (`{"vir04": 2}`), offered as `huawei.com/Ascend310P-4c`.
        driver: Version of the devices' driver. None: a usual one.
        toolkit: Newest CUDA that the driver serves, or the CANN beside it. None: a usual one.
        labels: More labels, or other values.
        taints: More taints, as kubectl writes them: `key=value:NoSchedule`, `key:NoExecute`.
        ready: What the kubelet says of it.
        cordoned: Whether nothing new may be scheduled there.
        notes: What its agent could not read or found broken.
    """
    parts = []
    if gpus or mig:
        parts.append(nvidia_part(product, gpus, shared_by, mig or {}, driver or DRIVER, toolkit or CUDA))
    if npus or vnpus:
        parts.append(ascend_part(chip, npus, vnpus or {}, driver or NPU_DRIVER, toolkit or CANN))
    written = [taint for part in parts for taint in part.taints]
    address = str(ADDRESSES[zlib.crc32(name.encode()) % ADDRESSES.num_addresses])
    resources = {"cpu": str(cores), "memory": f"{memory_bytes // 1024}Ki", "pods": str(CAPACITY_PODS)}
    for part in parts:
        resources.update({resource: str(count) for resource, count in part.resources.items()})
    manifest: Manifest = {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": name,
            "labels": {
                "kubernetes.io/arch": architecture,
                "kubernetes.io/hostname": name,
                "kubernetes.io/os": "linux",
                **{key: value for part in parts for key, value in part.labels.items()},
                **(labels or {}),
            },
        },
        "spec": {"taints": [_taint(text) for text in (*written, *taints)], "unschedulable": cordoned},
        "status": {
            "addresses": [{"type": "InternalIP", "address": address}, {"type": "Hostname", "address": name}],
            "allocatable": resources,
            "capacity": resources,
            "conditions": [_ready_condition(ready)],
            "nodeInfo": _node_info(architecture),
        },
    }
    hardware = Hardware.model_validate(
        {
            "processors": _processors(architecture, cores),
            "memoryBytes": memory_bytes,
            "devices": [device for part in parts for device in part.devices],
            "drivers": [part.driver for part in parts],
            "notes": list(notes),
        }
    )
    return PlayedNode(name, manifest, hardware)


def _processors(architecture: Architecture, cores: int) -> Manifest:
    if architecture == "arm64":
        kunpeng = {"architecture": "aarch64", "model": "Kunpeng-920", "isaLevel": "neon", "isaFlags": ["asimd"]}
        return {**kunpeng, "cores": cores, "numaNodes": 4}
    return {
        "architecture": "x86_64",
        "model": "Intel(R) Xeon(R) Platinum 8358 CPU @ 2.60GHz",
        "isaLevel": "x86-64-v4",
        "isaFlags": ["avx512f", "avx512_vnni"],
        "cores": cores,
        "numaNodes": 2,
    }


def _ready_condition(ready: bool) -> Manifest:
    said = (
        {"status": "True", "reason": "KubeletReady", "message": "kubelet is posting ready status"}
        if ready
        else {"status": "False", "reason": "KubeletNotReady", "message": "container runtime is down"}
    )
    return {"type": "Ready", **said, "lastTransitionTime": "2026-01-01T00:00:00Z", "lastHeartbeatTime": None}


def _node_info(architecture: Architecture) -> Manifest:
    unknown = ("machineID", "systemUUID", "bootID")
    return {
        **dict.fromkeys(unknown, ""),
        "architecture": architecture,
        "operatingSystem": "linux",
        "osImage": "Debian GNU/Linux 12 (bookworm)",
        "kernelVersion": "6.1.0",
        "containerRuntimeVersion": "containerd://2.1.4",
        "kubeletVersion": "v1.34.4",
        "kubeProxyVersion": "",
    }


def _taint(text: str) -> Manifest:
    rest, _, effect = text.rpartition(":")
    key, _, value = rest.partition("=")
    return {"key": key, "value": value, "effect": effect} if value else {"key": key, "effect": effect}
