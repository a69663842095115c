"""Who may do what: every account has the rights that it uses and no other, and the operator names the one it lacks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from hpi_core.names import AGENT_AUDIENCE
from hpi_operator.install.installation import Account, Installation
from hpi_operator.install.roles import AGENT_RIGHTS
from hpi_operator.install.rules import rules_of
from hpi_operator.kube.api import Api
from hpi_operator.kube.bucket import Bucket
from hpi_operator.kube.resources import OWN
from hpi_operator.kube.rights import missing_rights
from hpi_operator.rights import needed_rights, route_rights
from support.cluster_client import APPLY, ApiError, ClusterClient
from support.control_plane.cluster import ControlPlane
from support.control_plane.namespaces import make_namespace
from support.installation import a_token, bind, install, run_on
from support.kinds import manifest
from support.manifests import Document

SAMPLE = (
    "get leases.coordination.k8s.io named hpi-operator in namespace hpi-system",
    "create pods in namespace hpi-system",
    "create events.events.k8s.io in every namespace",
    "create deployments.apps in every namespace",
    "watch hpipipelines.hpi.paddlex.io in every namespace",
    "patch hpipipelines/status.hpi.paddlex.io in every namespace",
    "patch nodes in every namespace",
    "list httproutes.gateway.networking.k8s.io in every namespace",
)
"""One of every sort: in one namespace and in all, a named object, a status, objects of the core, ours and others."""

ANYBODY: frozenset[tuple[str, str, str]] = frozenset(
    {
        ("authentication.k8s.io", "selfsubjectreviews", "create"),
        ("authorization.k8s.io", "selfsubjectaccessreviews", "create"),
        ("authorization.k8s.io", "selfsubjectrulesreviews", "create"),
    }
)
"""What Kubernetes lets everybody ask who is anybody."""


@dataclass(frozen=True)
class Cast:
    """A cluster with the accounts and roles of an installation, and one serving pod."""

    cluster: ControlPlane
    admin: ClusterClient
    installation: Installation
    namespace: str
    serving: Account
    serving_pod: Document


@pytest.fixture(scope="module")
def cast(kinds_served: ControlPlane) -> Iterator[Cast]:
    """Roles, and a pod as the operator makes it: an account of its own that no role is bound to."""
    installation = install(kinds_served, "rbac")
    namespace = make_namespace(kinds_served, "rights")
    with ClusterClient(kinds_served) as admin:
        serving = Account(namespace, "ocr")
        body = {"metadata": {"name": serving.name}, "automountServiceAccountToken": False}
        admin.request("POST", f"/api/v1/namespaces/{namespace}/serviceaccounts", body)
        node = f"of-{namespace}"
        admin.request("POST", "/api/v1/nodes", {"metadata": {"name": node}})
        pod = run_on(admin, serving, node, "ocr-cpu-1")
        yield Cast(kinds_served, admin, installation, namespace, serving, pod)
        admin.request("DELETE", f"/api/v1/nodes/{node}")


def rights_of(client: ClusterClient, namespace: str) -> set[tuple[str, str, str]]:
    """Return group, resource and verb of everything that somebody may do in a namespace, beyond what anybody may."""
    review = {"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectRulesReview"}
    body = {**review, "spec": {"namespace": namespace}}
    path = "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews"
    status = client.request("POST", path, body)["status"]
    assert not status["incomplete"]
    return flat(status["resourceRules"]) - ANYBODY


def flat(rules: Iterable[Document]) -> set[tuple[str, str, str]]:
    return {
        (group, resource, verb)
        for rule in rules
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }


# Serving pods.


def test_the_account_of_a_serving_pod_may_do_nothing(cast: Cast) -> None:
    with ClusterClient(cast.cluster, token=a_token(cast.admin, cast.serving, pod=cast.serving_pod)) as holder:
        for namespace in (cast.namespace, cast.installation.namespace, cast.installation.agent_namespace):
            assert rights_of(holder, namespace) == set()


@pytest.mark.parametrize("kind", OWN)
@pytest.mark.parametrize("verb", ["get", "list", "watch", "create", "update", "patch", "apply status", "delete"])
def test_a_serving_pod_is_refused_our_kinds_whatever_token_it_gets_hold_of(cast: Cast, kind: str, verb: str) -> None:
    resource, document = OWN[kind], manifest(kind)
    name = document["metadata"]["name"]
    one, all_of = resource.path(cast.namespace, name), resource.path(cast.namespace)
    asked: dict[str, tuple[str, str, dict[str, Any]]] = {
        "get": ("GET", one, {}),
        "list": ("GET", all_of, {}),
        "watch": ("GET", all_of, {"query": {"watch": "1"}}),
        "create": ("POST", all_of, {"body": document}),
        "update": ("PUT", one, {"body": document}),
        "patch": ("PATCH", one, {"body": document, "content_type": APPLY, "query": {"fieldManager": "x"}}),
        "apply status": ("PATCH", f"{one}/status", {"body": document, "content_type": APPLY}),
        "delete": ("DELETE", one, {}),
    }
    method, path, more = asked[verb]

    token = a_token(cast.admin, cast.serving, pod=cast.serving_pod)

    with ClusterClient(cast.cluster, token=token) as holder, pytest.raises(ApiError) as refused:
        holder.request(method, path, **more)

    assert refused.value.code == 403
    assert f'User "{cast.serving.user}" cannot' in str(refused.value)


def test_the_token_that_a_serving_pod_has_is_none_for_the_api_server(cast: Cast) -> None:
    token = a_token(cast.admin, cast.serving, pod=cast.serving_pod, audience=AGENT_AUDIENCE)

    with ClusterClient(cast.cluster, token=token) as holder, pytest.raises(ApiError) as refused:
        holder.request("GET", "/api/v1/namespaces")

    assert (refused.value.code, refused.value.reason) == (401, "Unauthorized")


def test_an_agent_learns_from_that_token_which_pod_speaks(cast: Cast) -> None:
    token = a_token(cast.admin, cast.serving, pod=cast.serving_pod, audience=AGENT_AUDIENCE)
    review = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview"}
    body = {**review, "spec": {"token": token, "audiences": [AGENT_AUDIENCE]}}

    with ClusterClient(cast.cluster, token=a_token(cast.admin, cast.installation.agent)) as agent:
        status = agent.request("POST", "/apis/authentication.k8s.io/v1/tokenreviews", body)["status"]

    told = {key.partition("/")[2]: values for key, values in status["user"]["extra"].items()}
    assert (status["authenticated"], status["user"]["username"]) == (True, cast.serving.user)
    assert told["pod-uid"] == [cast.serving_pod["metadata"]["uid"]]
    assert told["node-name"] == [cast.serving_pod["spec"]["nodeName"]]


# Agents.


def test_an_agent_may_do_what_it_is_written_for_and_nothing_else(cast: Cast) -> None:
    with ClusterClient(cast.cluster, token=a_token(cast.admin, cast.installation.agent)) as agent:
        found = rights_of(agent, cast.namespace)

    assert found == flat(rules_of(AGENT_RIGHTS))


@pytest.mark.parametrize("path", ["nodes", "pods", "secrets", "configmaps", "namespaces/{}/serviceaccounts/ocr"])
def test_an_agent_is_refused(cast: Cast, path: str) -> None:
    token = a_token(cast.admin, cast.installation.agent)

    with ClusterClient(cast.cluster, token=token) as agent, pytest.raises(ApiError) as refused:
        agent.request("GET", f"/api/v1/{path.format(cast.namespace)}")

    assert refused.value.code == 403


# The operator.


def test_the_operators_account_has_every_right_that_the_operator_needs(cast: Cast) -> None:
    rights = (*needed_rights(cast.installation.namespace), *route_rights())
    user = cast.cluster.client(cast.installation.operator.user)

    missing = missing_rights(Api.connect(Bucket(50, 100), kubeconfig=str(user.kubeconfig)), rights)

    assert [str(one) for one in missing] == []


def test_the_operator_names_exactly_the_right_that_was_taken_away(cast: Cast) -> None:
    rights = (*needed_rights(cast.installation.namespace), *route_rights())
    by_name = {str(one): one for one in rights}
    assert set(SAMPLE) <= by_name.keys()

    found = {}
    for number, name in enumerate(SAMPLE):
        user = cast.cluster.client(f"operator-without-{number}")
        bind(cast.cluster, user.user, [one for one in rights if one != by_name[name]])
        asked = missing_rights(Api.connect(Bucket(50, 100), kubeconfig=str(user.kubeconfig)), rights)
        found[name] = [str(one) for one in asked]

    assert found == {name: [name] for name in SAMPLE}
