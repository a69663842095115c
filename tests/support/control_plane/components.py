"""The programs of a control plane and what each is told when it starts.

A later component (a player of nodes, a kubelet) is one more `Component`: nothing else of this package has to know it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from support.control_plane.certificates import KeyPair
from support.control_plane.ports import LOOPBACK

ETCD: Final = "unix://etcd:1"
"""etcd's address: a socket in the folder of the cluster, where every program works. No port, so no race for one, and
nobody but this user can open it. etcd demands something like a port; it becomes part of the file's name."""
PEERS: Final = "unix://etcd-peers:1"
SERVICES: Final = "198.19.0.0/16"
"""Addresses of Services: a range for tests of networks (RFC 2544), which is nobody's real network."""
PODS: Final = "198.18.0.1/17"
"""Addresses of pods that kwok plays, the first of them; nobody answers there."""
UNHURRIED: Final = ("--kube-api-qps=500", "--kube-api-burst=1000")
"""Of the controllers: with their 20 requests a second a thousand nodes take four minutes until pods may land there."""
STAGES: Final = Path(__file__).resolve().parent / "kwok" / "stages.yaml"
"""What kwok makes of nodes and pods, and the annotations by which a pod asks for another course."""
ISSUER: Final = "https://kubernetes.default.svc"
HOSTS: Final = (
    *(LOOPBACK, "localhost", "198.19.0.1"),
    *("kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local"),
)
"""What the servers are called. The last address is the first of `SERVICES`, which is the API server's."""


@dataclass(frozen=True)
class Setting:
    """What a component is told about its cluster."""

    folder: Path
    """Where it works; this user's alone."""
    host: str
    """Address that every server listens on."""
    authority: Path
    """Certificate of the authority that everyone trusts."""
    server: KeyPair
    """Serving certificate, for every server."""
    signing: KeyPair
    """Key pair of tokens of service accounts."""
    ports: Mapping[str, int]
    """Reserved port of each component that has one, by its program."""
    kubeconfigs: Mapping[str, Path]
    """The kubeconfig of each component that is a client, by its program."""
    audit_policy: Path | None
    audit_log: Path


@dataclass(frozen=True)
class Component:
    """One program of a control plane."""

    program: str
    arguments: Callable[[Setting], list[str]]
    health: str | None = None
    """Path that answers 200 once it is ready; it then has a port of its own. None: nothing is asked."""
    user: str | None = None
    """The name under which it speaks to the API server; None: it does not."""
    groups: tuple[str, ...] = ()
    """Groups of that user. The servers of Kubernetes need none: their roles come with the API server."""

    @property
    def is_client(self) -> bool:
        """Whether it needs an API server that is ready."""
        return self.user is not None


def etcd_arguments(setting: Setting) -> list[str]:
    """Return etcd's flags: one member, nothing flushed, because its data are thrown away."""
    return [
        "--name=test",
        f"--data-dir={setting.folder / 'etcd'}",
        f"--listen-client-urls={ETCD}",
        f"--advertise-client-urls={ETCD}",
        f"--listen-peer-urls={PEERS}",
        f"--initial-advertise-peer-urls={PEERS}",
        f"--initial-cluster=test={PEERS}",
        "--unsafe-no-fsync",
        "--log-level=warn",
    ]


def server_arguments(setting: Setting, program: str) -> list[str]:
    """Return the flags that every Kubernetes server has in common."""
    return [
        f"--bind-address={setting.host}",
        f"--secure-port={setting.ports[program]}",
        "--permit-port-sharing",
        f"--tls-cert-file={setting.server.certificate}",
        f"--tls-private-key-file={setting.server.key}",
    ]


def api_server_arguments(setting: Setting) -> list[str]:
    """Return kube-apiserver's flags."""
    audit = [f"--audit-policy-file={setting.audit_policy}", f"--audit-log-path={setting.audit_log}"]
    return [
        *server_arguments(setting, "kube-apiserver"),
        f"--etcd-servers={ETCD}",
        f"--client-ca-file={setting.authority}",
        f"--service-cluster-ip-range={SERVICES}",
        f"--service-account-issuer={ISSUER}",
        f"--service-account-key-file={setting.signing.certificate}",
        f"--service-account-signing-key-file={setting.signing.key}",
        "--authorization-mode=Node,RBAC",
        "--enable-admission-plugins=NodeRestriction",
        # The Service `kubernetes` may not have an endpoint on loopback; it would fail to write it every ten seconds.
        "--endpoint-reconciler-type=none",
        *(audit if setting.audit_policy is not None else []),
    ]


def client_arguments(setting: Setting, program: str) -> list[str]:
    """Return the flags of a server that is a client of the API server."""
    kubeconfig = setting.kubeconfigs[program]
    return [
        *server_arguments(setting, program),
        f"--kubeconfig={kubeconfig}",
        f"--authentication-kubeconfig={kubeconfig}",
        f"--authorization-kubeconfig={kubeconfig}",
        # There is one of each; waiting for a Lease would cost seconds.
        "--leader-elect=false",
    ]


def controller_manager_arguments(setting: Setting) -> list[str]:
    """Return kube-controller-manager's flags."""
    return [
        *client_arguments(setting, "kube-controller-manager"),
        f"--root-ca-file={setting.authority}",
        f"--service-account-private-key-file={setting.signing.key}",
        "--use-service-account-credentials",
        # Nobody sends heartbeats for nodes that are played: a node is what its status says, for a year.
        "--node-monitor-grace-period=8760h",
        "--node-startup-grace-period=8760h",
        *UNHURRIED,
    ]


def scheduler_arguments(setting: Setting) -> list[str]:
    """Return kube-scheduler's flags."""
    return [*client_arguments(setting, "kube-scheduler"), *UNHURRIED]


def kwok_arguments(setting: Setting) -> list[str]:
    """Return kwok's flags: every node is its own, none has a Lease, no port is opened."""
    return [
        f"--kubeconfig={setting.kubeconfigs['kwok']}",
        f"--config={STAGES}",
        "--manage-all-nodes",
        "--node-lease-duration-seconds=0",
        f"--cidr={PODS}",
        f"--node-ip={LOOPBACK}",
    ]


STORE: Final = Component("etcd", etcd_arguments)
API_SERVER: Final = Component("kube-apiserver", api_server_arguments, health="/readyz")
CONTROLLER_MANAGER: Final = Component(
    "kube-controller-manager",
    controller_manager_arguments,
    health="/healthz",
    user="system:kube-controller-manager",
)
SCHEDULER: Final = Component("kube-scheduler", scheduler_arguments, health="/healthz", user="system:kube-scheduler")
KWOK: Final = Component("kwok", kwok_arguments, user="system:kwok", groups=("system:masters",))

QUICK: Final = (STORE, API_SERVER)
"""Enough for CRDs, CEL, RBAC, admission policies: objects stay what they are, nobody acts on them."""
WHOLE: Final = (*QUICK, CONTROLLER_MANAGER, SCHEDULER)
"""With garbage collection, namespaces that end, Deployments, Jobs, and pods that find a node."""
PLAYED: Final = (*WHOLE, KWOK)
"""With nodes and pods that somebody plays: every Node becomes ready, and pods run there as they are told to."""
