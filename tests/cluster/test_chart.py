"""What the chart renders: the very objects of `hpi-operator manifests`, and nothing that an API server would refuse."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import yaml

from hpi_core.names import SELF_TEST_ACCOUNT
from hpi_operator.install.agents import VARIABLES
from hpi_operator.install.kinds_job import KINDS_RIGHTS, kinds_job
from hpi_operator.install.parts import PARTS
from hpi_operator.install.rules import rules_of
from hpi_operator.plan.node import plan_node
from support.chart import CHART, INSTALLATION, KUBERNETES, VALUES, Helm, is_hook, key
from support.cluster_client import ApiError, ClusterClient
from support.control_plane.binaries import Binaries
from support.control_plane.cluster import ControlPlane
from support.installation import install
from support.manifests import Document
from support.nodes import a_node
from support.observed import CLASSES, a_runtime, an_observed_node
from support.project import ROOT

GOLDEN = ROOT / "tests" / "data" / "chart"
PROMETHEUS = ("monitoring.coreos.com/v1",)
WRITE = "HPI_WRITE_GOLDEN"
"""Set it to write the golden files anew, and read the difference."""


@pytest.fixture(scope="module")
def helm(binaries: Binaries, tmp_path_factory: pytest.TempPathFactory) -> Helm:
    """Helm without a cluster."""
    return Helm(binaries["helm"], tmp_path_factory.mktemp("helm"))


@pytest.fixture(scope="module")
def rendered(helm: Helm) -> list[Document]:
    """The objects of the values of the tests."""
    return helm.objects()


@pytest.mark.parametrize("values", [(), ("-f", str(VALUES))], ids=["no values", "values of a site"])
def test_the_linter_finds_nothing(helm: Helm, values: tuple[str, ...]) -> None:
    linted = helm.run("lint", "--strict", "--kube-version", KUBERNETES, str(CHART), *values)

    assert linted.exit_code == 0, linted.output
    assert "[WARNING]" not in linted.output


def test_objects_are_those_of_the_manifests_command_one_by_one(rendered: list[Document]) -> None:
    stated = {key(one): one for part in PARTS.values() for one in part(INSTALLATION)}

    got = {key(one): one for one in rendered if not is_hook(one)}

    assert {name for name in got if name[0] not in ("HPIRuntime", "HPINodePool")} == stated.keys()
    for name, one in stated.items():
        assert got[name] == one, name


def test_objects_follow_the_namespaces_of_the_values(helm: Helm) -> None:
    got = helm.objects("namespace=one", "agentNamespace=two", "cache.hostPath=/data/hpi")

    text = yaml.safe_dump(got)
    assert "hpi-system" not in text
    assert "/hpi-agents" not in text
    assert {one["metadata"].get("namespace") for one in got} == {None, "one", "two"}
    assert {one["metadata"]["name"] for one in got if one["kind"] == "Namespace"} == {"one", "two"}
    [pool] = [one for one in got if one["kind"] == "HPINodePool"]
    [agents] = [one for one in got if one["kind"] == "DaemonSet"]
    assert pool["spec"]["cache"]["hostPath"] == "/data/hpi"
    assert agents["spec"]["template"]["spec"]["volumes"][0]["hostPath"]["path"] == "/data/hpi"


def test_values_of_a_site_reach_the_pods(helm: Helm) -> None:
    got = helm.objects(
        "imagePullSecrets[0].name=registry",
        "operator.nodeSelector.infra=yes",
        "operator.logLevel=debug",
        "operator.priorityClassName=important",
        "agent.nodeSelector.accelerator=gpu",
        "agent.tolerations[0].key=dedicated",
        "agent.tolerations[0].operator=Exists",
        "agent.resources.limits.memory=1Gi",
    )

    operator, agent = (
        next(one["spec"]["template"]["spec"] for one in got if one["kind"] == kind)
        for kind in ("Deployment", "DaemonSet")
    )
    assert operator["imagePullSecrets"] == agent["imagePullSecrets"] == [{"name": "registry"}]
    assert operator["nodeSelector"] == {"infra": "yes"}
    assert operator["priorityClassName"] == "important"
    assert "--log-level=debug" in operator["containers"][0]["args"]
    assert agent["nodeSelector"] == {"kubernetes.io/os": "linux", "accelerator": "gpu"}
    assert [one["key"] for one in agent["tolerations"]] == ["nvidia.com/gpu", "huawei.com/npu", "dedicated"]
    assert agent["containers"][0]["resources"]["limits"] == {"memory": "1Gi"}


def test_a_self_test_has_the_secrets_of_the_registry(helm: Helm, kinds_served: ControlPlane) -> None:
    install(kinds_served, "rbac")
    objects = helm.objects("imagePullSecrets[0].name=registry")
    [account] = [one for one in objects if key(one)[::2] == ("ServiceAccount", SELF_TEST_ACCOUNT)]
    seen = an_observed_node(a_node("n1"), runtimes=[a_runtime()])
    [planned] = [one for one in plan_node(seen, CLASSES).apply if one["kind"] == "Pod"]
    # The node that it would go with is not there.
    pod = {**planned, "metadata": {k: v for k, v in planned["metadata"].items() if k != "ownerReferences"}}

    with ClusterClient(kinds_served) as admin:
        namespace = f"/api/v1/namespaces/{account['metadata']['namespace']}"
        admin.apply(f"{namespace}/serviceaccounts/{account['metadata']['name']}", account, manager="tests")
        made = admin.request("POST", f"{namespace}/pods", pod, query={"dryRun": "All"})

    assert made["spec"]["imagePullSecrets"] == [{"name": "registry"}]


def test_variables_of_a_site_reach_the_agents_after_the_charts_own(helm: Helm) -> None:
    index = {"name": "PIP_INDEX_URL", "valueFrom": {"secretKeyRef": {"name": "package-index", "key": "url"}}}
    host = {"name": "PIP_TRUSTED_HOST", "valueFrom": {"configMapKeyRef": {"name": "site", "key": "packages.host"}}}
    proxy = {"name": "HTTPS_PROXY", "value": "http://proxy.example:3128"}

    got = helm.objects(
        "agent.env[0].name=PIP_INDEX_URL",
        "agent.env[0].valueFrom.secretKeyRef.name=package-index",
        "agent.env[0].valueFrom.secretKeyRef.key=url",
        "agent.env[1].name=PIP_TRUSTED_HOST",
        "agent.env[1].valueFrom.configMapKeyRef.name=site",
        "agent.env[1].valueFrom.configMapKeyRef.key=packages.host",
        "agent.env[2].name=HTTPS_PROXY",
        "agent.env[2].value=http://proxy.example:3128",
    )

    [agents] = [one for one in got if one["kind"] == "DaemonSet"]
    spec = agents["spec"]["template"]["spec"]
    assert spec["containers"][0]["env"] == [*VARIABLES, index, host, proxy]
    assert "env" not in spec["initContainers"][0]


def test_the_job_that_renews_the_kinds_is_a_hook_of_upgrades_with_no_more_than_it_needs(
    helm: Helm, rendered: list[Document]
) -> None:
    hooks = [one for one in rendered if is_hook(one)]

    without = [{**one, "metadata": {**one["metadata"], "annotations": None}} for one in hooks]
    stated = [{**one, "metadata": {**one["metadata"], "annotations": None}} for one in kinds_job(INSTALLATION)]
    assert sorted(without, key=key) == sorted(stated, key=key)
    assert {one["metadata"]["annotations"]["helm.sh/hook"] for one in hooks} == {"pre-upgrade"}
    [role] = [one for one in hooks if one["kind"] == "ClusterRole"]
    assert role["rules"] == rules_of(KINDS_RIGHTS)
    assert not [one for one in helm.objects("crds.upgrade=false") if is_hook(one)]


def test_what_the_release_lives_in_is_not_made_again(helm: Helm) -> None:
    answer = helm.run(
        "template", "hpi", str(CHART), "--kube-version", KUBERNETES, "-f", str(VALUES), "--namespace", "hpi-system"
    )

    made = [one for one in yaml.safe_load_all(answer.output) if one["kind"] == "Namespace"]
    assert [one["metadata"]["name"] for one in made] == ["hpi-agents"]


def test_monitoring_waits_for_its_api(helm: Helm, rendered: list[Document]) -> None:
    kinds = ("ServiceMonitor", "PodMonitor", "PrometheusRule", "ConfigMap")

    without = [one for one in rendered if one["kind"] in kinds]
    got = [one["kind"] for one in helm.objects(apis=PROMETHEUS) if one["kind"] in kinds]
    switched_off = [one for one in helm.objects("monitoring.enabled=false", apis=PROMETHEUS) if one["kind"] in kinds]

    assert (without, switched_off) == ([], [])
    assert sorted(got) == sorted(kinds)


def test_alerts_and_dashboard_arrive_as_they_are(helm: Helm) -> None:
    got = {one["kind"]: one for one in helm.objects(apis=PROMETHEUS)}

    alerts = yaml.safe_load((ROOT / "configs" / "alerts" / "hpi.yaml").read_text(encoding="utf-8"))
    dashboard = (ROOT / "configs" / "dashboards" / "hpi.json").read_text(encoding="utf-8")
    assert got["PrometheusRule"]["spec"] == alerts
    assert yaml.safe_load(got["ConfigMap"]["data"]["hpi.json"]) == yaml.safe_load(dashboard)


def test_what_is_rendered_is_what_was_read_and_agreed(helm: Helm) -> None:
    objects = helm.objects(apis=PROMETHEUS)
    listed = "".join(f"{' '.join(part or '-' for part in key(one))}\n" for one in objects)
    own = [one for one in objects if one["kind"] in ("HPIRuntime", "HPINodePool", "ServiceMonitor", "PodMonitor")]

    written = {"objects.txt": listed, "own.yaml": yaml.safe_dump_all(own, sort_keys=False)}

    for name, text in written.items():
        if os.environ.get(WRITE):
            (GOLDEN / name).write_text(text, encoding="utf-8")
        assert (GOLDEN / name).read_text(encoding="utf-8") == text, f"{name}: {WRITE}=1 writes it anew"


def test_an_api_server_takes_every_object(kinds_served: ControlPlane, helm: Helm) -> None:
    install(kinds_served, "rbac")
    text = helm.render().output

    answer = kinds_served.kubectl(
        *("apply", "--server-side", "--force-conflicts", "--dry-run=server", "--validate=strict", "-f", "-"), stdin=text
    )

    assert answer.exit_code == 0, answer.error
    assert "Warning" not in answer.error
    assert len(answer.output.splitlines()) == text.count("\nkind: ")


def test_an_api_server_takes_every_object_of_the_kustomize_base(kinds_served: ControlPlane) -> None:
    install(kinds_served, "rbac")

    answer = kinds_served.kubectl(
        *("apply", "--server-side", "--force-conflicts", "--dry-run=server", "--validate=strict"),
        *("-k", str(ROOT / "charts" / "kustomize")),
    )

    assert answer.exit_code == 0, answer.error
    assert "Warning" not in answer.error
    parts = sum(len(part(INSTALLATION)) for part in PARTS.values())
    assert len(answer.output.splitlines()) == parts + len(("runtime", "pool"))


def test_an_overlay_names_every_image(kinds_served: ControlPlane, tmp_path: Path) -> None:
    digest = f"sha256:{'5' * 64}"
    names = ("hpi-operator", "hpi-agent", "hpi-cpu")
    overlay = {
        "resources": [os.path.relpath(ROOT / "charts" / "kustomize", tmp_path)],
        "images": [{"name": name, "newName": f"registry.example/{name}", "digest": digest} for name in names],
    }
    (tmp_path / "kustomization.yaml").write_text(yaml.safe_dump(overlay), encoding="utf-8")

    built = kinds_served.kubectl("kustomize", str(tmp_path))

    assert built.exit_code == 0, built.error
    images = {line.split("image: ")[1] for line in built.output.splitlines() if " image: " in line}
    assert images == {f"registry.example/{name}@{digest}" for name in names}


def pod_of(kind: str, objects: list[Document]) -> Document:
    [one] = [one for one in objects if one["kind"] == kind]
    template = one["spec"]["template"]
    metadata = {**template["metadata"], "name": kind.lower()}
    spec = {"restartPolicy": "Always", **template["spec"]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


@pytest.mark.parametrize(
    ("kind", "namespace"), [("Deployment", "hpi-system"), ("Job", "hpi-system"), ("DaemonSet", "hpi-agents")]
)
def test_pods_are_admitted_where_they_live(
    kinds_served: ControlPlane, rendered: list[Document], kind: str, namespace: str
) -> None:
    install(kinds_served, "rbac")
    pod = pod_of(kind, rendered)
    # The hook's own account is there for the time of an upgrade alone.
    pod["spec"]["serviceAccountName"] = "default" if kind == "Job" else pod["spec"]["serviceAccountName"]

    with ClusterClient(kinds_served) as admin:
        accounts = f"/api/v1/namespaces/{namespace}/serviceaccounts"
        account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"}}
        admin.apply(f"{accounts}/default", account, manager="tests")
        made = admin.request("POST", f"/api/v1/namespaces/{namespace}/pods", pod, query={"dryRun": "All"})

    assert made["metadata"]["namespace"] == namespace


def test_an_agents_pod_is_refused_where_the_operator_lives(
    kinds_served: ControlPlane, rendered: list[Document]
) -> None:
    install(kinds_served, "rbac")
    pod = pod_of("DaemonSet", rendered)
    pod["spec"]["serviceAccountName"] = "hpi-operator"

    with ClusterClient(kinds_served) as admin, pytest.raises(ApiError, match="violates PodSecurity") as refused:
        admin.request("POST", "/api/v1/namespaces/hpi-system/pods", pod, query={"dryRun": "All"})

    assert "hostPath" in str(refused.value)


def test_an_agent_has_host_paths_and_the_nodes_network_and_nothing_more(rendered: list[Document]) -> None:
    spec = pod_of("DaemonSet", rendered)["spec"]

    [agent] = spec["containers"]
    mounts = {one["name"]: one for one in agent["volumeMounts"]}
    assert (spec.get("hostPID"), spec.get("hostIPC"), spec["hostNetwork"]) == (None, None, True)
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert agent["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert mounts["host"]["readOnly"] is True
    assert [one["name"] for one in spec["volumes"] if "hostPath" in one] == ["cache", "host"]
    asked = {*agent["resources"]["requests"], *agent["resources"]["limits"]}
    assert asked == {"cpu", "memory"}
