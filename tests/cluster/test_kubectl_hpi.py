"""`kubectl hpi` on a real API server, with an operator, played pods and agents: what a person types and sees."""

from __future__ import annotations

import json
import sys
from contextlib import closing
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from hpi_operator.kube.resources import DEPLOYMENTS, ENGINES, JOBS, PIPELINES, PODS
from hpi_operator.kube.rights import right
from hpi_operator.kubectl.schema import REPORTS
from support.api_calls import asks
from support.api_proxy import ApiProxy
from support.audit import AuditLog
from support.control_plane.clients import Client
from support.control_plane.ports import ReservedPort
from support.eventually import eventually
from support.installation import bind
from support.kubectl_hpi import KubectlHpi
from support.manifests import Document
from support.observed import a_digest
from support.operated import Site
from support.pods import a_course

MODULE: Final[Document] = {
    "name": "text_detection",
    "model": {"name": "det", "source": "https://models.example/det.onnx", "digest": a_digest("1")},
}
FORMS: Final = {one.__name__: one for one in REPORTS}


@pytest.fixture
def kubectl_hpi(operated: Site) -> KubectlHpi:
    return KubectlHpi(operated.cluster)


def checked(report: Document) -> Document:
    """Return a report after it was read by the form that its kind names."""
    FORMS[report["kind"]].model_validate_json(json.dumps(report))
    return report


def test_a_pipeline_is_told_from_its_revision_down_to_the_milliseconds_of_its_engines(
    operated: Site, own: str, kubectl_hpi: KubectlHpi
) -> None:
    operated.create(own, "ocr", config=..., modules=..., module=MODULE, build={"policy": "Prebuild"}, replicas=2)
    operated.serves(own, "ocr")
    [engine] = [one["metadata"]["name"] for one in operated.client.items(ENGINES.path(own))[0]]
    operated.agents.tell(own, "ocr", "measured", engines=[engine])
    eventually(lambda: operated.status(own, "ocr").get("models"))

    shown = kubectl_hpi.typed("status", "ocr", "-n", own)
    tree = checked(kubectl_hpi.report("status", "ocr", "-n", own))
    choice = checked(kubectl_hpi.report("explain", "ocr", "-n", own))

    assert (shown.exit_code, shown.error) == (0, "")
    [line] = [line for line in shown.output.splitlines() if "engine det" in line]
    assert " ".join(line.split()[1:]) == "engine det Measured 2 pods the best openvino float32 5.0 ms 7.0 ms"
    [revision] = tree["revisions"]
    assert [(pod["state"], pod["engines"]) for pod in revision["pods"]] == [("Ready", [engine])] * 2
    [model] = choice["models"]
    assert [(one["name"], one["verdict"]) for one in model["candidates"]] == [
        ("openvino", "Chosen"),
        ("onnxruntime", "Slower"),
        ("paddle", "Slower"),
    ]
    assert (model["nextBest"], model["nextBestSlowdownPercent"]) == ("onnxruntime", 100)
    assert [(one["name"], one["verdict"]) for one in choice["runtimes"]] == [("hpi-cpu-1.0.0", "Chosen")]


def test_models_that_are_built_on_demand_are_told_with_backend_and_milliseconds_where_there_is_no_hpi_engine(
    operated: Site, own: str, kubectl_hpi: KubectlHpi
) -> None:
    operated.create(own, "ocr", replicas=2)
    operated.serves(own, "ocr")
    times = {"p50Microseconds": 5_000, "p99Microseconds": 7_000}
    model = {"name": "det", "backend": "openvino", "precision": "float32", "state": "Measured", **times}
    operated.agents.tell(own, "ocr", "measured", models=[model])

    def is_told() -> Document:
        choice = checked(kubectl_hpi.report("explain", "ocr", "-n", own))
        assert [one["pods"] for one in choice["served"]] == [2]
        return choice

    eventually(is_told)
    shown = kubectl_hpi.typed("status", "ocr", "-n", own)

    [line] = [line for line in shown.output.splitlines() if "model det" in line]
    assert " ".join(line.split()[1:]) == "model det Measured 2 pods openvino float32 5.0 ms 7.0 ms"
    assert operated.client.items(ENGINES.path(own))[0] == []


def test_a_crash_is_followed_down_to_its_container_and_nothing_is_written(
    operated: Site, own: str, kubectl_hpi: KubectlHpi
) -> None:
    begun = datetime.now(timezone.utc)
    course = a_course("crashes", exit_code=137, message="std::bad_alloc")
    operated.create(own, "ocr", podTemplate={"annotations": course})
    operated.create(own, "good")
    operated.wait(own, "ocr", "Progressing", "False", "RevisionFailed")
    operated.serves(own, "good")

    why = kubectl_hpi.typed("why", "ocr", "-n", own)
    causes = checked(kubectl_hpi.report("why", "pipeline/ocr", "-n", own))
    listed = checked(kubectl_hpi.report("status", "-n", own))

    [pod] = operated.children(PODS, own, "ocr")
    assert why.exit_code == 1
    assert f"kubectl logs {pod} -n {own} -c serve --previous" in why.output
    available = causes["findings"][0]
    assert (available["reason"], available["causes"][0]["reason"]) == ("NoReplica", "OOMKilled")
    assert available["causes"][0]["message"] == "std::bad_alloc"
    assert [(one["name"], one["ready"]["status"]) for one in listed["items"]] == [("ocr", "False"), ("good", "True")]
    assert kubectl_hpi("why", "good", "-n", own).exit_code == 0
    assert AuditLog(operated.cluster).writes(agent="kubectl-hpi", since=begun) == []


def test_nodes_are_told_with_their_runtimes_and_one_in_full(operated: Site, kubectl_hpi: KubectlHpi) -> None:
    listed = checked(kubectl_hpi.report("nodes"))
    shown = kubectl_hpi("nodes", "op-1")
    why = kubectl_hpi("why", "node/op-1")

    nodes = {one["name"]: one for one in listed["items"]}
    [runtime] = nodes["op-1"]["runtimes"]
    assert (nodes["op-1"]["pool"], runtime["name"], runtime["selfTest"]) == ("default", "hpi-cpu-1.0.0", "Passed")
    assert "hpi-cpu-1.0.0  Usable  Passed" in shown.output
    assert (why.exit_code, why.output.split(",")[0].strip()) == (0, "Node op-1 is ready")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("status", "ocl"), "the nearest is ocr"),
        (("why", "op-9"), "there is neither an HPIPipeline op-9 in namespace"),
        (("why", "pod/ocr"), "write pipeline/NAME or node/NAME"),
        (("nodes", "op-9"), "the nearest are op-"),
        (("status", "-A", "-n", "shop"), "-n and -A exclude one another"),
        (("status", "--context", "tset"), "did you mean test?"),
        (("status", "--kubeconfig", "nothing-here"), "there is no file nothing-here"),
        (("stauts",), "invalid choice"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_a_call_that_cannot_be_answered_says_what_can(
    arguments: tuple[str, ...], words: str, operated: Site, own: str, kubectl_hpi: KubectlHpi
) -> None:
    operated.create(own, "ocr", replicas=0)
    where = () if "-A" in arguments or arguments[0] == "stauts" else ("-n", own)

    answer = kubectl_hpi(*arguments, *where)

    assert (answer.exit_code, answer.output) == (2, "")
    assert words in answer.error


def test_a_name_that_another_namespace_has_is_found_there(operated: Site, own: str, kubectl_hpi: KubectlHpi) -> None:
    operated.create(own, f"only-{own}", replicas=0)

    elsewhere = kubectl_hpi("status", f"only-{own}", "-n", "default")
    everywhere = checked(kubectl_hpi.report("status", f"only-{own}", "-A"))

    assert f"there is one in {own}: ask with -n {own}" in elsewhere.error
    assert everywhere["namespace"] == own


@pytest.fixture
def viewer(operated: Site, own: str) -> Client:
    """Somebody who sees the pipelines and pods of one namespace, and nothing of the cluster."""
    user = f"viewer-of-{own}"
    seen = (PIPELINES, PODS, DEPLOYMENTS, ENGINES, JOBS)
    bind(operated.cluster, user, [right(verb, one, namespace=own) for one in seen for verb in ("get", "list")])
    return operated.cluster.client(user)


def test_who_sees_one_namespace_is_told_what_is_there_and_what_is_not_seen(
    operated: Site, own: str, viewer: Client
) -> None:
    operated.create(own, "ocr")
    operated.serves(own, "ocr")
    kubectl_hpi = KubectlHpi(operated.cluster, viewer)

    tree = eventually(lambda: allowed(kubectl_hpi, "status", "ocr", "-n", own))
    everywhere, nodes = kubectl_hpi("status", "-A"), kubectl_hpi("nodes")

    assert [one["state"] for one in tree["revisions"][0]["pods"]] == ["Ready"]
    assert "you may not get hpinodes.hpi.paddlex.io" in " ".join(tree["unseen"])
    assert (everywhere.exit_code, nodes.exit_code) == (4, 4)
    assert "you may not list hpipipelines.hpi.paddlex.io in every namespace" in everywhere.error
    assert "you may not list hpinodes.hpi.paddlex.io: ask for" in nodes.error


def allowed(kubectl_hpi: KubectlHpi, *arguments: str) -> Document:
    """Return a report once the rights that were granted are in force."""
    answer = kubectl_hpi(*arguments, "-o", "json")
    assert answer.output, answer.error
    found: Document = json.loads(answer.output)
    return found


def test_a_cluster_without_our_kinds_says_so(operated: Site) -> None:
    with ApiProxy(operated.cluster) as proxy:
        proxy.answer(asks(resource=("hpipipelines", "hpinodes")), 404)
        kubectl_hpi = KubectlHpi(operated.cluster, kubeconfig=proxy.kubeconfig)

        # In a process of their own: the proxy wants to see the end of every connection.
        answers = [kubectl_hpi.typed(*words) for words in (("status", "ocr"), ("nodes",))]

    for answer in answers:
        assert answer.exit_code == 2
        assert "CustomResourceDefinitions are missing" in answer.error


def test_an_api_server_that_is_away_or_has_too_much_to_do_is_told_in_words(operated: Site, tmp_path: Path) -> None:
    with ApiProxy(operated.cluster) as proxy:
        proxy.answer(asks("list", "hpipipelines"), 503)
        busy = KubectlHpi(operated.cluster, kubeconfig=proxy.kubeconfig).typed("status")
    with closing(ReservedPort()) as port:
        nobody = a_kubeconfig(operated, tmp_path, server=f"https://127.0.0.1:{port.number}")
        away = KubectlHpi(operated.cluster, kubeconfig=nobody)("status")

    assert (busy.exit_code, away.exit_code) == (3, 3)
    for answer in (busy, away):
        assert "does not answer, or not now" in answer.error
        assert "kubectl cluster-info" in answer.error


def test_a_credential_plugin_is_asked_and_the_namespace_of_the_context_is_used(
    operated: Site, own: str, tmp_path: Path
) -> None:
    operated.create(own, "ocr", replicas=0)
    admin = yaml.safe_load(operated.cluster.admin.kubeconfig.read_text(encoding="utf-8"))["users"][0]["user"]
    program = tmp_path / "plugin.py"
    expires = (datetime.now(timezone.utc) + timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
    program.write_text(
        f"""
import json, pathlib
certificate, key = (pathlib.Path(one).read_text() for one in {[admin["client-certificate"], admin["client-key"]]!r})
status = {{"clientCertificateData": certificate, "clientKeyData": key, "expirationTimestamp": {expires!r}}}
credential = {{"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential", "status": status}}
print(json.dumps(credential))
"""
    )
    execute = {
        "apiVersion": "client.authentication.k8s.io/v1",
        "command": sys.executable,
        "args": [str(program)],
        "interactiveMode": "Never",
    }
    kubeconfig = a_kubeconfig(operated, tmp_path, user={"exec": execute}, namespace=own)

    listed = checked(KubectlHpi(operated.cluster, kubeconfig=kubeconfig).report("status"))

    assert [one["name"] for one in listed["items"]] == ["ocr"]


def a_kubeconfig(
    operated: Site, folder: Path, *, server: str | None = None, user: Document | None = None, namespace: str = "default"
) -> Path:
    """Return the admin's kubeconfig with another server, other credentials, or a namespace."""
    document: dict[str, Any] = yaml.safe_load(operated.cluster.admin.kubeconfig.read_text(encoding="utf-8"))
    document["contexts"][0]["context"]["namespace"] = namespace
    if server is not None:
        document["clusters"][0]["cluster"]["server"] = server
    if user is not None:
        document["users"][0]["user"] = user
    path = folder / "kubeconfig"
    path.write_text(yaml.safe_dump(document), encoding="utf-8")
    return path
