"""What `hpi-operator manifests` prints can be applied, and does what it says."""

from __future__ import annotations

import json
import ssl
from collections.abc import Iterator
from functools import partial

import httpx2
import pytest

from hpi_operator.install.installation import Account, Installation
from hpi_operator.install.parts import PARTS
from hpi_operator.install.text import yaml_text
from hpi_operator.rights import LEASE
from support.cluster_client import ApiError, ClusterClient
from support.control_plane.cluster import ControlPlane
from support.eventually import eventually
from support.installation import INSTALLATION, a_token, install
from support.manifests import Document
from support.objects import serve_kinds

TEXT = yaml_text(manifest for part in PARTS.values() for manifest in part(INSTALLATION))


@pytest.fixture(scope="module")
def installed(kinds_served: ControlPlane) -> Installation:
    """Everything, on an API server that shall find nothing to warn of."""
    return install(kinds_served, *PARTS)


@pytest.fixture
def admin(kinds_served: ControlPlane) -> Iterator[ClusterClient]:
    """Whoever may do everything."""
    with ClusterClient(kinds_served) as client:
        yield client


def versions(cluster: ControlPlane) -> dict[str, str]:
    """Return the resource version of every object of the installation."""
    answer = cluster.kubectl("get", "-f", "-", "-o", "json", stdin=TEXT)
    assert answer.exit_code == 0, answer.error
    found = [one["metadata"] | {"kind": one["kind"]} for one in json.loads(answer.output)["items"]]
    return {f"{one['kind']} {one['name']} {one.get('namespace')}": one["resourceVersion"] for one in found}


@pytest.mark.usefixtures("installed")
def test_applying_it_again_changes_nothing(kinds_served: ControlPlane) -> None:
    # The server itself writes conditions of its own into FlowSchemas, once.
    before = eventually(lambda: same_twice(kinds_served))

    install(kinds_served, *PARTS)

    assert versions(kinds_served) == before
    assert len(before) == TEXT.count("---\n")


def same_twice(cluster: ControlPlane) -> dict[str, str]:
    first, second = versions(cluster), versions(cluster)
    assert first == second
    return first


def operator_pod(**security: bool) -> Document:
    [deployment] = [one for one in PARTS["operator"](INSTALLATION) if one["kind"] == "Deployment"]
    pod: Document = json.loads(json.dumps(deployment["spec"]["template"]))
    pod["spec"]["containers"][0]["securityContext"] |= security
    return {**pod, "apiVersion": "v1", "kind": "Pod", "metadata": {**pod["metadata"], "name": "operator"}}


def test_the_operators_pod_is_admitted_where_pods_are_restricted(admin: ClusterClient, installed: Installation) -> None:
    path = f"/api/v1/namespaces/{installed.namespace}/pods"

    made = admin.request("POST", path, operator_pod(), query={"dryRun": "All"})

    assert made["spec"]["serviceAccountName"] == installed.operator.name
    with pytest.raises(ApiError, match="violates PodSecurity"):
        admin.request("POST", path, operator_pod(allowPrivilegeEscalation=True), query={"dryRun": "All"})


def test_a_pod_with_a_host_path_is_admitted_where_agents_live(admin: ClusterClient, installed: Installation) -> None:
    pod = operator_pod()
    pod["spec"]["serviceAccountName"] = installed.agent.name
    pod["spec"]["volumes"] = [{"name": "tmp", "hostPath": {"path": "/var/lib/hpi"}}]

    made = admin.request("POST", f"/api/v1/namespaces/{installed.agent_namespace}/pods", pod, query={"dryRun": "All"})

    assert made["spec"]["volumes"][0]["hostPath"]["path"] == "/var/lib/hpi"


@pytest.mark.parametrize(
    ("account", "path", "schema"),
    [
        (INSTALLATION.agent, "/apis/hpi.paddlex.io/v1alpha1/hpinodes/n1", "hpi-agents"),
        (INSTALLATION.operator, "/apis/hpi.paddlex.io/v1alpha1/hpinodes", "hpi-operator"),
        (INSTALLATION.operator, "/apis/apps/v1/namespaces/default/deployments", "hpi-operator"),
        (
            INSTALLATION.operator,
            f"/apis/coordination.k8s.io/v1/namespaces/{INSTALLATION.namespace}/leases/{LEASE}",
            "hpi-operator-election",
        ),
    ],
)
@pytest.mark.usefixtures("installed")
def test_requests_have_the_share_of_whoever_asks(
    kinds_served: ControlPlane, admin: ClusterClient, account: Account, path: str, schema: str
) -> None:
    uid = admin.request("GET", f"/apis/flowcontrol.apiserver.k8s.io/v1/flowschemas/{schema}")["metadata"]["uid"]
    context = ssl.create_default_context(cafile=str(kinds_served.authority))
    headers = {"Authorization": f"Bearer {a_token(admin, account)}"}

    with httpx2.Client(base_url=kinds_served.url, verify=context, trust_env=False, headers=headers) as http:
        # The server takes new schemas up a moment after they are there.
        eventually(lambda: http.get(path).headers["X-Kubernetes-PF-FlowSchema-UID"] == uid)


@pytest.mark.usefixtures("installed")
def test_no_schema_leads_nowhere(admin: ClusterClient) -> None:
    found, _ = admin.items(
        "/apis/flowcontrol.apiserver.k8s.io/v1/flowschemas", labelSelector="app.kubernetes.io/part-of=hpi"
    )

    dangling = {
        one["metadata"]["name"]: condition["status"]
        for one in found
        for condition in one["status"]["conditions"]
        if condition["type"] == "Dangling"
    }
    assert dangling == {"hpi-operator": "False", "hpi-operator-election": "False", "hpi-agents": "False"}


@pytest.mark.slow
def test_no_expression_of_a_policy_has_a_warning(whole_control_plane: ControlPlane) -> None:
    serve_kinds(whole_control_plane)
    install(whole_control_plane, "policies")

    with ClusterClient(whole_control_plane) as admin:
        path = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies"
        # The controller manager checks types against the schemas of the kinds.
        checked = eventually(partial(statuses, admin, path))

    assert len(checked) == 5
    assert [one.get("typeChecking", {}) for one in checked] == [{}] * 5


def statuses(admin: ClusterClient, path: str) -> list[Document]:
    """Return the status of every policy; an assertion fails as long as one has none."""
    found, _ = admin.items(path)
    assert all("observedGeneration" in one.get("status", {}) for one in found)
    return [one["status"] for one in found]
