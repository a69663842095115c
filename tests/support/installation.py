"""An installation's own manifests in a control plane, and the tokens of its accounts as kubelets ask for them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from hpi_operator.install.installation import RBAC, RBAC_VERSION, Account, Installation
from hpi_operator.install.parts import PARTS
from hpi_operator.install.rules import rules_of
from hpi_operator.install.text import yaml_text
from hpi_operator.kube.rights import Right
from support.cluster_client import ClusterClient
from support.control_plane.cluster import ControlPlane
from support.manifests import Document
from support.pods import a_pod

INSTALLATION: Final = Installation("registry.example/hpi-operator:1", agent_image="registry.example/hpi-agent:1")


def install(cluster: ControlPlane, *parts: str) -> Installation:
    """Apply parts of what `hpi-operator manifests` prints."""
    text = yaml_text(manifest for part in parts for manifest in PARTS[part](INSTALLATION))
    applied = cluster.kubectl("apply", "--server-side", "--validate=strict", "-f", "-", stdin=text)
    assert applied.exit_code == 0, applied.error
    assert "Warning" not in applied.error
    return INSTALLATION


def bind(cluster: ControlPlane, user: str, rights: Iterable[Right]) -> None:
    """Grant rights to a user, and nothing else."""
    name = user.replace(":", "-")
    documents = []
    by_place: dict[str | None, list[Right]] = {}
    for one in rights:
        by_place.setdefault(one.namespace, []).append(one)
    for place, there in by_place.items():
        kind = "ClusterRole" if place is None else "Role"
        metadata = {"name": name, **({"namespace": place} if place else {})}
        role = {"apiVersion": RBAC_VERSION, "kind": kind, "metadata": metadata, "rules": rules_of(there)}
        binding = {
            "apiVersion": RBAC_VERSION,
            "kind": f"{kind}Binding",
            "metadata": metadata,
            "subjects": [{"kind": "User", "name": user, "apiGroup": RBAC}],
            "roleRef": {"kind": kind, "name": name, "apiGroup": RBAC},
        }
        documents += [role, binding]
    applied = cluster.kubectl("apply", "--server-side", "-f", "-", stdin=yaml_text(documents))
    assert applied.exit_code == 0, applied.error


def a_token(
    client: ClusterClient, account: Account, *, pod: Document | None = None, audience: str | None = None
) -> str:
    """Return a token of an account, of a pod where one is named: that one says where the pod runs.

    Args:
        client: The admin's connection.
        account: Whose.
        pod: The pod, as the API server has it. None: a token that is bound to nothing.
        audience: Who shall take it. None: the API server.
    """
    bound: Document | None = None
    if pod is not None:
        metadata = pod["metadata"]
        bound = {"apiVersion": "v1", "kind": "Pod", "name": metadata["name"], "uid": metadata["uid"]}
    spec: Document = {"expirationSeconds": 3600}
    spec |= {} if bound is None else {"boundObjectRef": bound}
    spec |= {} if audience is None else {"audiences": [audience]}
    body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec}
    path = f"/api/v1/namespaces/{account.namespace}/serviceaccounts/{account.name}/token"
    token: str = client.request("POST", path, body)["status"]["token"]
    return token


def run_on(client: ClusterClient, account: Account, node: str, name: str) -> Document:
    """Create a pod of an account on a node; return it as the API server has it."""
    pod = a_pod(name, node=node)
    pod["spec"]["serviceAccountName"] = account.name
    return client.request("POST", f"/api/v1/namespaces/{account.namespace}/pods", pod)
