"""What the operator's tests stand on does what it says: nodes, pods, the audit log, an API server that goes away."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest

from support.audit import WRITES, AuditLog, Call, now
from support.cluster_client import ApiError, ClusterClient
from support.control_plane.binaries import Binaries
from support.control_plane.cluster import ControlPlane
from support.control_plane.components import PLAYED
from support.control_plane.namespaces import make_namespace
from support.eventually import eventually
from support.manifests import Document
from support.nodes import PlayedNode, a_node
from support.pods import a_course, a_pod
from support.populate import create_nodes, delete_nodes

NUMBERS = count(1)
SERVER = "system:apiserver"
CONFIG_MAPS = "/api/v1/namespaces/{}/configmaps"


@pytest.fixture
def client(played_control_plane: ControlPlane) -> Iterator[ClusterClient]:
    """The admin of the played control plane."""
    with ClusterClient(played_control_plane) as admin:
        yield admin


@pytest.fixture
def node(client: ClusterClient) -> Iterator[PlayedNode]:
    """A node of the test's own, for pods that name it."""
    node = a_node(f"rig-{next(NUMBERS)}", taints=["rig:NoSchedule"])
    create_nodes(client, [node])
    yield node
    delete_nodes(client, [node.name])


def pods_path(namespace: str, name: str = "") -> str:
    return f"/api/v1/namespaces/{namespace}/pods{'/' if name else ''}{name}"


def run(client: ClusterClient, namespace: str, pod: Document) -> str:
    """Create a pod; return the path of it."""
    client.request("POST", pods_path(namespace), pod)
    return pods_path(namespace, pod["metadata"]["name"])


def container(client: ClusterClient, path: str) -> Document:
    """Return the status of a pod's one container, as soon as there is one."""
    pod = eventually(lambda: client.request("GET", path)["status"].get("containerStatuses"))
    status: Document = pod[0]
    return status


def condition(document: Document, type_: str) -> Document:
    found: list[Document] = [one for one in document["status"].get("conditions", ()) if one["type"] == type_]
    return found[0] if found else {}


def test_a_node_without_a_status_becomes_ready(client: ClusterClient) -> None:
    bare = a_node(f"rig-{next(NUMBERS)}").manifest
    del bare["status"]["conditions"]
    path = f"/api/v1/nodes/{bare['metadata']['name']}"

    client.request("POST", "/api/v1/nodes", bare)

    ready = eventually(lambda: condition(client.request("GET", path), "Ready"))
    client.request("DELETE", path)
    assert (ready["status"], ready["reason"]) == ("True", "KubeletReady")


def test_a_node_that_says_that_it_is_not_ready_stays_so(client: ClusterClient) -> None:
    lame = a_node(f"rig-{next(NUMBERS)}", ready=False)
    create_nodes(client, [lame])

    seen = client.request("GET", f"/api/v1/nodes/{lame.name}")

    delete_nodes(client, [lame.name])
    assert condition(seen, "Ready")["status"] == "False"
    assert "node.kubernetes.io/not-ready" in [taint["key"] for taint in seen["spec"]["taints"]]


def test_a_pod_of_a_deployment_finds_a_node_and_becomes_ready(
    played_control_plane: ControlPlane, played_namespace: str, client: ClusterClient
) -> None:
    create_nodes(client, [a_node(name := f"rig-{next(NUMBERS)}")])

    played_control_plane.kubectl("create", "deployment", "d", "--image=registry.example/d", "-n", played_namespace)

    path = f"/apis/apps/v1/namespaces/{played_namespace}/deployments/d"
    eventually(lambda: client.request("GET", path)["status"].get("readyReplicas") == 1)
    delete_nodes(client, [name])


def test_a_device_is_given_to_one_pod_at_a_time(
    played_control_plane: ControlPlane, played_namespace: str, client: ClusterClient
) -> None:
    gpu = a_node(f"rig-{next(NUMBERS)}", gpus=1)
    create_nodes(client, [gpu])
    for name in ("one", "two"):
        pod = a_pod(name)
        pod["spec"]["nodeSelector"] = {"kubernetes.io/hostname": gpu.name}
        pod["spec"]["containers"][0]["resources"] = {"limits": {"nvidia.com/gpu": "1"}}
        run(client, played_namespace, pod)

    def told_by_scheduler() -> list[Document]:
        pods, _ = client.items(pods_path(played_namespace))
        return [one for one in pods if condition(one, "PodScheduled").get("reason") == "Unschedulable"]

    [waiting] = eventually(told_by_scheduler)
    delete_nodes(client, [gpu.name])
    assert "Insufficient nvidia.com/gpu" in condition(waiting, "PodScheduled")["message"]


def test_a_pod_is_created_before_it_is_ready(node: PlayedNode, client: ClusterClient, played_namespace: str) -> None:
    path = run(client, played_namespace, a_pod("slow", node=node.name, annotations=a_course(after_seconds=3600)))

    state = container(client, path)

    pod = client.request("GET", path)
    assert state["state"]["waiting"]["reason"] == "ContainerCreating"
    assert (pod["status"]["phase"], condition(pod, "Ready")["status"]) == ("Pending", "False")


@pytest.mark.parametrize("image", ["registry.example/crashes-137@sha256:" + "0" * 64, "registry.example/hpi:1"])
def test_a_pod_that_crashes_says_how_and_is_started_again_as_often_as_it_was_told(
    node: PlayedNode, client: ClusterClient, played_namespace: str, image: str
) -> None:
    by_image = "crashes" in image
    course = a_course(
        None if by_image else "crashes", exit_code=None if by_image else 3, message="no model", restarts=2
    )
    path = run(client, played_namespace, a_pod("crash", node=node.name, image=image, annotations=course))

    eventually(lambda: container(client, path)["restartCount"] == 2)

    state = container(client, path)
    ended = state["lastState"]["terminated"]
    assert state["state"]["waiting"]["reason"] == "CrashLoopBackOff"
    assert (ended["exitCode"], ended["reason"], ended["message"]) == (
        (137, "OOMKilled", "no model") if by_image else (3, "Error", "no model")
    )


def test_a_pod_whose_image_is_missing_waits_for_it(
    node: PlayedNode, client: ClusterClient, played_namespace: str
) -> None:
    path = run(client, played_namespace, a_pod("pull", node=node.name, image="registry.example/image-missing:1"))

    waiting = eventually(lambda: container(client, path)["state"]["waiting"].get("message") and container(client, path))

    assert waiting["state"]["waiting"]["reason"] == "ImagePullBackOff"
    assert "registry.example/image-missing:1" in waiting["state"]["waiting"]["message"]


def test_a_pod_may_run_and_never_be_ready(node: PlayedNode, client: ClusterClient, played_namespace: str) -> None:
    path = run(client, played_namespace, a_pod("never", node=node.name, annotations=a_course("never-ready")))

    eventually(lambda: "running" in container(client, path)["state"])

    assert not container(client, path)["ready"]
    assert condition(client.request("GET", path), "Ready")["status"] == "False"


@pytest.mark.parametrize(("outcome", "phase", "code"), [(None, "Succeeded", 0), ("crashes", "Failed", 7)])
def test_a_pod_that_is_not_restarted_ends(
    node: PlayedNode, client: ClusterClient, played_namespace: str, outcome: None, phase: str, code: int
) -> None:
    course = a_course(outcome, exit_code=code, message="the last words")
    path = run(client, played_namespace, a_pod("once", node=node.name, restarted=False, annotations=course))

    eventually(lambda: client.request("GET", path)["status"]["phase"] == phase)

    ended = container(client, path)["state"]["terminated"]
    assert (ended["exitCode"], ended["message"]) == (code, "the last words")


def test_a_pod_that_is_deleted_takes_the_time_that_it_was_told(
    node: PlayedNode, client: ClusterClient, played_namespace: str
) -> None:
    path = run(client, played_namespace, a_pod("stays", node=node.name, annotations=a_course(ends_after_seconds=3600)))
    run(client, played_namespace, a_pod("goes", node=node.name))

    client.request("DELETE", path)
    client.request("DELETE", pods_path(played_namespace, "goes"))

    eventually(lambda: client.find(pods_path(played_namespace, "goes")) is None)
    assert "deletionTimestamp" in client.request("GET", path)["metadata"]


def test_the_audit_log_tells_writes_by_client_and_window_and_no_reads(
    played_control_plane: ControlPlane, played_namespace: str
) -> None:
    log = AuditLog(played_control_plane)
    path = CONFIG_MAPS.format(played_namespace)
    begun = now()

    with ClusterClient(played_control_plane, agent="the-writer/1") as writer:
        writer.request("POST", path, {"metadata": {"name": "a"}})
        writer.items(path)
        writer.request("POST", path, {"metadata": {"name": "b"}}, query={"dryRun": "All"})
        writer.apply(f"{path}/a", {"apiVersion": "v1", "kind": "ConfigMap", "data": {"k": "v"}}, manager="me")
        ended = now()
        with pytest.raises(ApiError):
            writer.request("POST", path, {"metadata": {"name": "a"}})

    def words(calls: list[Call]) -> list[tuple[str, str, str, str]]:
        return [(call.verb, call.resource, call.name, call.manager) for call in calls]

    expected = [("create", "configmaps", "a", ""), ("patch", "configmaps", "a", "me")]
    assert words(log.writes(agent="the-writer", since=begun, until=ended)) == expected
    assert words(log.writes(user="admin", agent="the-writer", since=ended)) == [("create", "configmaps", "a", "")]
    # What came of the earlier ones stands there by the time of a later answer.
    codes = [201, 200, 409]
    eventually(lambda: [call.code for call in log.writes(agent="the-writer", since=begun)] == codes)


@pytest.mark.slow
def test_a_cluster_of_played_nodes_and_pods_comes_to_rest(binaries: Binaries, tmp_path: Path) -> None:
    with (
        ControlPlane(binaries, PLAYED, audit_policy=WRITES, parent=tmp_path) as cluster,
        ClusterClient(cluster) as admin,
    ):
        namespace = make_namespace(cluster, "idle")
        create_nodes(admin, [a_node(f"n{number}", gpus=2) for number in range(50)])
        paths = [run(admin, namespace, a_pod(f"p{number}")) for number in range(20)]
        paths.append(run(admin, namespace, a_pod("crash", annotations=a_course("crashes"))))
        serving = paths[:-1]
        eventually(
            lambda: all(condition(admin.request("GET", path), "Ready").get("status") == "True" for path in serving)
        )
        eventually(lambda: container(admin, paths[-1])["restartCount"] == 3)
        log = AuditLog(cluster)

        def renewals_since_the_last_write() -> int:
            writes = log.writes()
            last = max(call.received_at for call in writes if call.user != SERVER)
            return sum(call.user == SERVER and call.received_at > last for call in writes)

        # The API server renews a Lease of its own every ten seconds, as a kubelet would. An event of the controllers
        # may come late; a heartbeat would come in between again and again.
        eventually(lambda: renewals_since_the_last_write() >= 3, seconds=180)


def test_the_table_of_the_nodes_says_what_they_offer(client: ClusterClient) -> None:
    sorts = [
        a_node("rig-gpu", gpus=2),
        a_node("rig-mig", mig={"1g.5gb": 7}),
        a_node("rig-npu", npus=2, architecture="arm64"),
        a_node("rig-910b", npus=8, chip="Ascend910B3", architecture="arm64"),
        a_node("rig-vnpu", vnpus={"vir04": 2}, architecture="arm64"),
    ]
    create_nodes(client, sorts)

    stored = {node.name: client.request("GET", f"/api/v1/nodes/{node.name}") for node in sorts}

    delete_nodes(client, stored)
    offered = {
        name: {key: value for key, value in node["status"]["allocatable"].items() if "/" in key and value != "0"}
        for name, node in stored.items()
    }
    assert offered == {
        "rig-gpu": {"nvidia.com/gpu": "2"},
        "rig-mig": {"nvidia.com/mig-1g.5gb": "7"},
        "rig-npu": {"huawei.com/Ascend310P": "2"},
        "rig-910b": {"huawei.com/Ascend910": "8"},
        "rig-vnpu": {"huawei.com/Ascend310P-4c": "2"},
    }
    assert json.dumps(stored["rig-npu"]["spec"]["taints"]) == '[{"key": "huawei.com/npu", "effect": "NoSchedule"}]'
