"""What kubelet and kube-proxy are told, and what the control plane is told of the node."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from support.control_plane.certificates import KeyPair
from support.node.containerd import SOCKET
from support.node.network import ADDRESS

PORT: Final = 10250
PROXY_HEALTH: Final = "http://127.0.0.1:10256/healthz"
"""Of kube-proxy: 200 once its rules are there."""
NEVER_EVICT: Final = dict.fromkeys(
    ("memory.available", "nodefs.available", "nodefs.inodesFree", "imagefs.available", "imagefs.inodesFree"), "0%"
)
"""The machine belongs to others as well: how full its disk is says nothing of this node."""


def control_plane_flags(asking: KeyPair, authority: Path) -> dict[str, list[str]]:
    """Return flags by program of the control plane; they come after those of a control plane without a node.

    Args:
        asking: Client certificate of the API server when it speaks to the kubelet.
        authority: Certificate of the authority that everyone trusts.
    """
    return {
        "kube-apiserver": [
            f"--advertise-address={ADDRESS}",
            "--endpoint-reconciler-type=lease",
            "--allow-privileged",
            f"--kubelet-client-certificate={asking.certificate}",
            f"--kubelet-client-key={asking.key}",
            f"--kubelet-certificate-authority={authority}",
            # Else exec and logs look for the node's name in the DNS.
            "--kubelet-preferred-address-types=InternalIP",
        ],
        "kube-controller-manager": [
            # This node sends heartbeats: Kubernetes' own figures.
            "--node-monitor-grace-period=50s",
            "--node-startup-grace-period=60s",
            # One that elects ends while the API server is away, and its successor measures anew. One that lives on
            # takes every node for lost when the API server is back, and every Service loses its pods for a moment.
            "--leader-elect",
        ],
    }


@dataclass(frozen=True)
class NodeSetting:
    """What the programs of a node are told."""

    name: str
    folder: Path
    """Takes the kubelet's configuration; what it keeps lies in `/var/lib/kubelet` of its machine."""
    authority: Path
    """Certificate of the authority that everyone trusts."""
    server: KeyPair
    """Serving certificate of the kubelet."""
    group: str
    """The control group below which pods run."""
    kubelet: Path
    """Kubeconfig of the kubelet."""
    proxy: Path
    """Kubeconfig of kube-proxy."""


def kubelet_arguments(setting: NodeSetting, changes: Mapping[str, Any]) -> list[str]:
    """Return kubelet's flags; writes the file with the rest of what it is told.

    Args:
        setting: Of the node.
        changes: Fields of `KubeletConfiguration` that win over ours.
    """
    setting.folder.mkdir(mode=0o755, exist_ok=True)
    file = setting.folder / "config.yaml"
    file.write_text(yaml.safe_dump({**configuration(setting), **changes}, sort_keys=False), encoding="utf-8")
    return [
        f"--config={file}",
        f"--kubeconfig={setting.kubelet}",
        f"--hostname-override={setting.name}",
        # A kubelet refuses loopback here.
        f"--node-ip={ADDRESS}",
    ]


def configuration(setting: NodeSetting) -> dict[str, Any]:
    """Return the `KubeletConfiguration`."""
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": ADDRESS,
        "port": PORT,
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": str(setting.authority)},
        },
        "authorization": {"mode": "Webhook"},
        "tlsCertFile": str(setting.server.certificate),
        "tlsPrivateKeyFile": str(setting.server.key),
        "containerRuntimeEndpoint": f"unix://{SOCKET}",
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": f"/{setting.group}",
        # From 1.35 on a kubelet refuses version 1 unless told so.
        "failCgroupV1": False,
        "failSwapOn": False,
        # Its root is no file system of its own.
        "localStorageCapacityIsolation": False,
        # No way out, so nobody to ask for names.
        "resolvConf": "",
        "clusterDomain": "cluster.local",
        "evictionHard": NEVER_EVICT,
        "imageGCHighThresholdPercent": 100,
        "imageGCLowThresholdPercent": 99,
        # Images are imported once; nobody could bring back one that was removed for its age.
        "imageMinimumGCAge": "8760h",
        # So late may a ConfigMap that changed reach its pods; Kubernetes' own figure is a minute.
        "syncFrequency": "10s",
    }


def proxy_arguments(setting: NodeSetting, *, bridge_is_filtered: bool) -> list[str]:
    """Return kube-proxy's flags.

    Args:
        setting: Of the node.
        bridge_is_filtered: Whether what goes from pod to pod passes the rules of the node. Otherwise answers of a
            Service would come from an address that nobody asked, unless the node asks in the name of its pods.
    """
    return [
        *([] if bridge_is_filtered else ["--masquerade-all"]),
        f"--kubeconfig={setting.proxy}",
        f"--hostname-override={setting.name}",
        "--proxy-mode=nftables",
        f"--bind-address={ADDRESS}",
        "--healthz-bind-address=127.0.0.1:10256",
        "--metrics-bind-address=127.0.0.1:10249",
        # The limits of connections belong to the whole machine.
        "--conntrack-max-per-core=0",
        "--conntrack-tcp-timeout-established=0s",
        "--conntrack-tcp-timeout-close-wait=0s",
    ]
