"""Pods on a real node do what pods do."""

from __future__ import annotations

import json
import subprocess

import pytest

from support.eventually import eventually
from support.node.cluster import NodeCluster
from support.node.network import ADDRESS
from support.node.oci_archive import write_archive
from support.node.workloads import a_pod, a_web_site, apply, ask, status_of

pytestmark = pytest.mark.e2e

ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"
ELSEWHERE = "192.0.2.1"
"""An address that nobody has (RFC 5737)."""
READY = ("wait", "--for=condition=Ready", "--timeout=60s")
DONE = ("wait", "--for=jsonpath={.status.phase}=Succeeded", "--timeout=60s")


def start_web_site(node: NodeCluster, namespace: str) -> list[str]:
    """Roll out two pods; return their names."""
    apply(node, namespace, *a_web_site("web", node.pod_image, 2))
    ask(node, namespace, "rollout", "status", "deployment/web", "--timeout=60s")
    return ask(node, namespace, "get", "pods", "-o", "jsonpath={.items[*].metadata.name}").split()


def fetch(node: NodeCluster, url: str) -> str:
    """Return what a URL answers to a client in the network of the node; empty when it does not."""
    done = subprocess.run(
        node.command_inside([str(node.pod_program), "get", url]), capture_output=True, text=True, check=False
    )
    return done.stdout


def test_two_pods_without_rights_roll_out(node: NodeCluster, namespace: str) -> None:
    pods = start_web_site(node, namespace)

    refused = node.kubectl("-n", namespace, "exec", pods[0], "--", "/pod", "write", "/file", "text")

    assert len(pods) == 2
    assert "read-only file system" in refused.error


def test_a_service_answers_in_the_network_of_the_node_and_to_pods(node: NodeCluster, namespace: str) -> None:
    pods = start_web_site(node, namespace)
    url = f"http://{ask(node, namespace, 'get', 'service', 'web', '-o', 'jsonpath={.spec.clusterIP}')}/"

    # kube-proxy learns of a ready pod some moments after whoever waits for the roll-out.
    from_node = eventually(lambda: fetch(node, url))
    from_pods = [ask(node, namespace, "exec", pod, "--", "/pod", "get", url) for pod in pods for _ in range(4)]

    for answer in (from_node, *from_pods):
        assert answer.startswith("200 OK\nhello from web-")


def test_exec_and_logs_work(node: NodeCluster, namespace: str) -> None:
    apply(node, namespace, a_pod("p", node.pod_image, ["serve", ":8080", "hello"]))
    ask(node, namespace, *READY, "pod/p")

    answer = ask(node, namespace, "exec", "p", "--", "/pod", "get", "http://127.0.0.1:8080/some/path")

    assert answer == "200 OK\nhello from p\n"
    assert eventually(lambda: "GET /some/path" in node.logs_of(namespace, "p"))


def test_a_pod_reaches_the_api_server_through_its_service(node: NodeCluster, namespace: str) -> None:
    apply(node, namespace, a_pod("p", node.pod_image, ["pause"]))
    ask(node, namespace, *READY, "pod/p")

    words = ("/pod", "get", "https://198.19.0.1/version", f"{ACCOUNT}/ca.crt", f"{ACCOUNT}/token")
    status, _, body = ask(node, namespace, "exec", "p", "--", *words).partition("\n")

    assert status == "200 OK"
    assert json.loads(body)["gitVersion"] == node.binaries.version


def test_nothing_leads_out(node: NodeCluster, namespace: str) -> None:
    apply(node, namespace, a_pod("p", node.pod_image, ["pause"]))
    ask(node, namespace, *READY, "pod/p")

    from_pod = node.kubectl("-n", namespace, "exec", "p", "--", "/pod", "get", f"http://{ELSEWHERE}/")
    route = subprocess.run(
        node.command_inside(["ip", "route", "get", ELSEWHERE]), capture_output=True, text=True, check=False
    )

    assert "network is unreachable" in from_pod.error
    assert "Network is unreachable" in route.stderr


def test_an_image_is_found_by_its_digest_and_not_pulled(node: NodeCluster, namespace: str) -> None:
    archive = node.state / "another.tar"
    written = write_archive(
        archive, "ignored", {"/pod": node.pod_program, "/twin": node.pod_program}, ["/twin", "pause"]
    )

    names = node.import_image(archive, "registry.example/some/agent:3")
    apply(node, namespace, a_pod("p", names[0], ["pause"]))
    ask(node, namespace, *READY, "pod/p")

    digest = f"registry.example/some/agent@{written.digest}"
    assert names == (digest, "registry.example/some/agent:3")
    assert set(names) <= set(node.images())
    assert status_of(node, namespace, "p")["imageID"] == digest


def test_a_folder_of_the_host_is_the_runs_own(node: NodeCluster, namespace: str) -> None:
    volume = {"name": "host", "hostPath": {"path": "/var/lib/hpi/below", "type": "DirectoryOrCreate"}}
    pod = a_pod("p", node.pod_image, ["write", "/below/file", "text"], volumes=[volume], restartPolicy="Never")
    pod["spec"]["containers"][0]["volumeMounts"] = [{"name": "host", "mountPath": "/below"}]
    # The kubelet makes the folder for root.
    pod["spec"]["securityContext"] = {"runAsUser": 0}

    apply(node, namespace, pod)
    ask(node, namespace, *DONE, "pod/p")

    assert (node.host_path("/var/lib/hpi/below") / "file").read_text(encoding="utf-8") == "text"


def test_a_pod_in_the_network_of_the_node_answers_at_its_address(node: NodeCluster, namespace: str) -> None:
    pod = a_pod("p", node.pod_image, ["serve", ":9911", "agent"], hostNetwork=True)
    pod["spec"]["containers"][0]["readinessProbe"] = {"httpGet": {"path": "/", "port": 9911}, "periodSeconds": 1}

    apply(node, namespace, pod)
    ask(node, namespace, *READY, "pod/p")

    assert fetch(node, f"http://{ADDRESS}:9911/").startswith("200 OK\nagent from ")


def test_a_token_of_a_pod_has_the_audience_that_was_asked_for(node: NodeCluster, namespace: str) -> None:
    token = {"serviceAccountToken": {"path": "token", "audience": "some-agent", "expirationSeconds": 3600}}
    volume = {"name": "token", "projected": {"sources": [token], "defaultMode": 0o440}}
    pod = a_pod("p", node.pod_image, ["pause"], volumes=[volume])
    pod["spec"]["containers"][0]["volumeMounts"] = [{"name": "token", "mountPath": "/token"}]
    pod["spec"]["securityContext"]["fsGroup"] = 10001
    apply(node, namespace, pod)
    ask(node, namespace, *READY, "pod/p")

    review = {
        "apiVersion": "authentication.k8s.io/v1",
        "kind": "TokenReview",
        "spec": {
            "token": ask(node, namespace, "exec", "p", "--", "/pod", "cat", "/token/token"),
            "audiences": ["some-agent"],
        },
    }
    told = json.loads(ask(node, "", "create", "-f", "-", "-o", "json", stdin=json.dumps(review)))["status"]

    assert told["authenticated"] is True
    assert told["user"]["extra"]["authentication.kubernetes.io/node-name"] == [node.node_name]


def test_a_container_that_is_killed_is_started_again(node: NodeCluster, namespace: str) -> None:
    apply(node, namespace, a_pod("p", node.pod_image, ["pause"]))
    ask(node, namespace, *READY, "pod/p")

    killed = node.kill_container(namespace, "p", "main")

    again = eventually(lambda: (found := status_of(node, namespace, "p"))["restartCount"] and found)
    assert again["lastState"]["terminated"]["exitCode"] == 128 + 9
    assert again["lastState"]["terminated"]["containerID"] == f"containerd://{killed}"
