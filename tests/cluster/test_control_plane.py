"""The control plane of the tests is a real one, and nothing of it is left."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from hpi_agent.processes.process_tree import descendants, every_process
from hpi_core.errors import Stop
from support.children import lives, wait_for
from support.control_plane.binaries import VARIABLE, Binaries
from support.control_plane.clients import Answer
from support.control_plane.cluster import ControlPlane
from support.control_plane.components import WHOLE
from support.project import ROOT

PAUSE: dict[str, Any] = {"containers": [{"name": "pause", "image": "pause"}]}
"""A pod that nobody here runs."""
AUDIT_POLICY = """
apiVersion: audit.k8s.io/v1
kind: Policy
rules:
- level: Metadata
  verbs: [create]
  resources: [{group: "", resources: [configmaps]}]
- level: None
"""


def create(cluster: ControlPlane, manifest: dict[str, Any]) -> dict[str, Any]:
    """Create an object and return it as the API server has it."""
    answer = cluster.kubectl("create", "-f", "-", "-o", "json", stdin=json.dumps(manifest))
    return parse(answer)


def parse(answer: Answer) -> dict[str, Any]:
    """Return what kubectl printed as JSON; it must have done as asked."""
    assert answer.exit_code == 0, answer.error
    parsed: dict[str, Any] = json.loads(answer.output)
    return parsed


def config_map(name: str, namespace: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": namespace}}


def has_config_map(cluster: ControlPlane, name: str, namespace: str) -> bool:
    answer = cluster.kubectl("get", "configmap", name, "-n", namespace, "--ignore-not-found", "-o", "name")
    assert answer.exit_code == 0, answer.error
    return bool(answer.output)


def start_command(temporary: Path) -> tuple[subprocess.Popen[str], list[int]]:
    """Start `run --quick` in a process of its own; return it and the programs of its cluster."""
    process = subprocess.Popen(
        [sys.executable, "-m", "support.control_plane", "run", "--quick"],
        env={**os.environ, "PYTHONPATH": str(ROOT / "tests"), "TMPDIR": str(temporary)},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    told = next((line for line in process.stdout if line.startswith("export KUBECONFIG=")), "")
    assert told.startswith(f"export KUBECONFIG={temporary}"), f"the command ended with {process.wait(10)}"
    return process, sorted(set(descendants([process.pid], every_process().values())) - {process.pid})


def test_it_answers_in_the_version_that_was_asked_for(control_plane: ControlPlane) -> None:
    version = parse(control_plane.kubectl("get", "--raw", "/version"))

    assert version["gitVersion"] == control_plane.binaries.version
    # envtest publishes some versions of a line, not all.
    assert version["gitVersion"] == "v1.34.4" or os.environ.get(VARIABLE)


def test_a_user_without_rights_is_refused(control_plane: ControlPlane) -> None:
    answer = control_plane.kubectl("get", "namespaces", user=control_plane.client("stranger"))

    assert answer.exit_code == 1
    assert "Forbidden" in answer.error
    assert 'User "stranger" cannot list resource "namespaces"' in answer.error


def test_a_client_is_who_it_was_made_for(control_plane: ControlPlane) -> None:
    from kubernetes.client import AuthenticationV1Api

    with control_plane.api_client(control_plane.client("a-person", ["readers", "writers"])) as client:
        review = AuthenticationV1Api(client).create_self_subject_review({})

    info = review.status.user_info
    assert (info.username, set(info.groups)) == ("a-person", {"readers", "writers", "system:authenticated"})


def test_a_node_may_change_its_own_node_alone(control_plane: ControlPlane) -> None:
    from kubernetes.client import ApiException, CoreV1Api

    for name in ("n1", "n2"):
        create(control_plane, {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}})
    change = {"metadata": {"annotations": {"a": "b"}}}

    with control_plane.api_client(control_plane.client("system:node:n1", ["system:nodes"])) as kubelet:
        own = CoreV1Api(kubelet).patch_node("n1", change)
        with pytest.raises(ApiException, match="is not allowed to modify node"):
            CoreV1Api(kubelet).patch_node("n2", change)

    assert own.metadata.annotations == {"a": "b"}


def test_a_pod_is_admitted_in_a_fresh_namespace(control_plane: ControlPlane, namespace: str) -> None:
    metadata = {"name": "p", "namespace": namespace}

    pod = create(control_plane, {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": PAUSE})

    assert pod["spec"]["serviceAccountName"] == "default"


def test_what_an_object_owned_goes_after_it(whole_control_plane: ControlPlane, whole_namespace: str) -> None:
    parent = config_map("parent", whole_namespace)
    owner = create(whole_control_plane, parent)
    reference = {"apiVersion": "v1", "kind": "ConfigMap", "name": "parent", "uid": owner["metadata"]["uid"]}
    child = config_map("child", whole_namespace)
    create(whole_control_plane, {**child, "metadata": {**child["metadata"], "ownerReferences": [reference]}})

    whole_control_plane.kubectl("delete", "configmap", "parent", "-n", whole_namespace)

    wait_for(lambda: not has_config_map(whole_control_plane, "child", whole_namespace))


def test_a_pod_finds_a_node_that_is_ready(whole_control_plane: ControlPlane, whole_namespace: str) -> None:
    node = {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": "by-hand"},
        "status": {
            "allocatable": {"cpu": "2", "memory": "1Gi", "pods": "10"},
            "conditions": [{"type": "Ready", "status": "True", "reason": "ByHand"}],
        },
    }
    create(whole_control_plane, node)
    metadata = {"name": "p", "namespace": whole_namespace}

    create(whole_control_plane, {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": PAUSE})

    found = whole_control_plane.kubectl(
        *("wait", "pod", "p", "-n", whole_namespace, "--for=jsonpath={.spec.nodeName}=by-hand", "--timeout=30s")
    )
    assert found.exit_code == 0, found.error


def test_its_secrets_are_for_this_user_alone(control_plane: ControlPlane) -> None:
    folder = control_plane.folder
    files = [*(folder / "certificates").iterdir(), *folder.glob("*.kubeconfig"), *(folder / "logs").iterdir()]

    modes = {path.name: oct(path.stat().st_mode & 0o777) for path in files}

    assert {"ca.crt", "admin.key", "service-accounts.key", "admin.kubeconfig", "etcd.log"} <= modes.keys()
    assert set(modes.values()) == {"0o600"}
    assert folder.stat().st_mode & 0o777 == 0o700


@pytest.mark.slow
def test_the_audit_log_has_what_the_policy_selects(binaries: Binaries, tmp_path: Path) -> None:
    with ControlPlane(binaries, audit_policy=AUDIT_POLICY, parent=tmp_path) as cluster:
        cluster.kubectl("create", "configmap", "seen", user=cluster.client("writer", ["system:masters"]))
        cluster.kubectl("get", "configmaps")
        entries = [json.loads(line) for line in cluster.audit_log.read_text(encoding="utf-8").splitlines()]

    seen = [entry for entry in entries if entry["user"]["username"] == "writer"]
    assert {entry["verb"] for entry in entries} == {"create"}
    assert {entry["objectRef"]["name"] for entry in seen if entry["stage"] == "ResponseComplete"} == {"seen"}


@pytest.mark.slow
def test_stopping_leaves_no_process_and_no_folder(binaries: Binaries, tmp_path: Path) -> None:
    cluster = ControlPlane(binaries, WHOLE, parent=tmp_path)
    cluster.start()
    pids = cluster.pids()

    cluster.stop()

    assert set(pids) == {"etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler"}
    assert not [name for name, pid in pids.items() if lives(pid)]
    assert list(tmp_path.iterdir()) == []


def test_a_program_that_dies_at_the_start_is_named_with_its_last_lines(binaries: Binaries, tmp_path: Path) -> None:
    cluster = ControlPlane(binaries, flags={"kube-apiserver": ["--no-such-flag"]}, parent=tmp_path)

    with pytest.raises(Stop, match=r"(?s)kube-apiserver ended with exit code 1.*unknown flag: --no-such-flag"):
        cluster.start()

    assert list(tmp_path.iterdir()) == []


def test_a_start_that_takes_too_long_says_what_is_missing(binaries: Binaries, tmp_path: Path) -> None:
    cluster = ControlPlane(binaries, start_seconds=0, parent=tmp_path)

    with pytest.raises(Stop, match=r"(?s)kube-apiserver was not ready within 0 s; /readyz says: .*etcd:"):
        cluster.start()

    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.usefixtures("binaries")
def test_a_cluster_dies_with_whoever_started_it(tmp_path: Path) -> None:
    process, programs = start_command(tmp_path)

    with process:
        process.send_signal(signal.SIGKILL)

    assert len(programs) == 2
    wait_for(lambda: not any(lives(pid) for pid in programs))


@pytest.mark.slow
@pytest.mark.usefixtures("binaries")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_command_cleans_up_when_it_is_asked_to_stop(tmp_path: Path, number: signal.Signals) -> None:
    process, programs = start_command(tmp_path)

    with process:
        process.send_signal(number)

    assert process.returncode == 130
    assert not [pid for pid in programs if lives(pid)]
    assert list(tmp_path.iterdir()) == []
