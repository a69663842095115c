"""Roles for people: what `view`, `edit` and `admin` mean for our kinds."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from support.cluster_client import ClusterClient
from support.control_plane.cluster import ControlPlane
from support.eventually import eventually
from support.installation import install
from support.objects import serve_kinds

MATRIX = {
    # verb, resource: whether view, edit and admin may
    "get hpipipelines": "yes yes yes",
    "list hpiengines": "yes yes yes",
    "watch hpipipelines": "yes yes yes",
    "create hpipipelines": "no yes yes",
    "update hpipipelines": "no yes yes",
    "patch hpipipelines": "no yes yes",
    "delete hpipipelines": "no yes yes",
    "deletecollection hpipipelines": "no yes yes",
    "get hpipipelines/scale": "yes yes yes",
    "patch hpipipelines/scale": "no yes yes",
    "update hpipipelines/scale": "no yes yes",
    "patch hpipipelines/status": "no no no",
    "delete hpiengines": "no no yes",
    "create hpiengines": "no no no",
    "patch hpiengines": "no no no",
    "patch hpiengines/status": "no no no",
}
OF_THE_CLUSTER = {
    "list hpinodes": "yes yes yes",
    "get hpiruntimes": "yes yes yes",
    "watch hpinodepools": "yes yes yes",
    "create hpiruntimes": "no no yes",
    "patch hpinodepools": "no no yes",
    "delete hpiruntimes": "no no yes",
    "patch hpiruntimes/status": "no no no",
    "create hpinodes": "no no no",
    "patch hpinodes": "no no no",
    "patch hpinodes/status": "no no no",
}


def may(client: ClusterClient, what: str, namespace: str) -> bool:
    """Return whether somebody may do something to our kinds in a namespace; '': to those of the cluster."""
    verb, _, words = what.partition(" ")
    resource, _, subresource = words.partition("/")
    asked = {"verb": verb, "group": "hpi.paddlex.io", "resource": resource, "subresource": subresource}
    review = {"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview"}
    body = {**review, "spec": {"resourceAttributes": {**asked, "namespace": namespace}}}
    path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
    allowed: bool = client.request("POST", path, body)["status"]["allowed"]
    return allowed


def matrix(clients: list[ClusterClient], rows: Iterable[str], namespace: str) -> dict[str, str]:
    return {row: " ".join("yes" if may(client, row, namespace) else "no" for client in clients) for row in rows}


def test_people_may_do_what_their_role_says(kinds_served: ControlPlane, namespace: str) -> None:
    install(kinds_served, "rbac")
    clients, strangers = [], []
    for role in ("hpi-view", "hpi-edit", "hpi-admin"):
        user, everywhere = f"{role}-in-{namespace}", f"{role}-everywhere-{namespace}"
        bound = kinds_served.kubectl(
            *("create", "rolebinding", user, "-n", namespace, f"--clusterrole={role}", f"--user={user}")
        )
        assert bound.exit_code == 0, bound.error
        bound = kinds_served.kubectl(
            *("create", "clusterrolebinding", everywhere, f"--clusterrole={role}", f"--user={everywhere}")
        )
        assert bound.exit_code == 0, bound.error
        clients.append(ClusterClient(kinds_served, kinds_served.client(user)))
        strangers.append(ClusterClient(kinds_served, kinds_served.client(everywhere)))

    assert matrix(clients, MATRIX, namespace) == MATRIX
    assert set(matrix(clients, OF_THE_CLUSTER, "").values()) == {"no no no"}
    assert set(matrix(clients, MATRIX, "default").values()) == {"no no no"}
    assert matrix(strangers, OF_THE_CLUSTER, "") == OF_THE_CLUSTER
    for client in (*clients, *strangers):
        client.close()


@pytest.mark.slow
def test_kubernetes_own_roles_take_ours_in(whole_control_plane: ControlPlane, whole_namespace: str) -> None:
    serve_kinds(whole_control_plane)
    install(whole_control_plane, "rbac")
    clients = []
    for role in ("view", "edit", "admin"):
        user = f"{role}-of-{whole_namespace}"
        whole_control_plane.kubectl(
            *("create", "rolebinding", user, "-n", whole_namespace, f"--clusterrole={role}", f"--user={user}")
        )
        clients.append(ClusterClient(whole_control_plane, whole_control_plane.client(user)))

    eventually(lambda: matrix(clients, MATRIX, whole_namespace) == MATRIX)
    for client in clients:
        client.close()
