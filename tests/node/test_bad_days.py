"""A node goes on while others are away, and nothing of it is left."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from support.children import lives
from support.eventually import eventually
from support.node.cgroups import hierarchies
from support.node.cluster import NodeCluster
from support.node.machine import TUNABLES
from support.node.network import ADDRESS
from support.node.programs import NodePrograms
from support.node.run_folder import PREFIX, remove_leftovers
from support.node.workloads import a_pod, apply, ask, status_of
from support.project import ROOT

pytestmark = pytest.mark.e2e

READY = ("wait", "--for=condition=Ready", "--timeout=60s")


def start_pod(cluster: NodeCluster, namespace: str = "default", port: int = 9922) -> None:
    """Have a pod serve in the network of the node."""
    eventually(lambda: cluster.kubectl("-n", namespace, "get", "serviceaccount", "default").exit_code == 0)
    apply(cluster, namespace, a_pod("p", cluster.pod_image, ["serve", f":{port}", "hello"], hostNetwork=True))
    ask(cluster, namespace, *READY, "pod/p")


def answers(cluster: NodeCluster, port: int = 9922) -> bool:
    words = [str(cluster.pod_program), "get", f"http://{ADDRESS}:{port}/"]
    return subprocess.run(cluster.command_inside(words), capture_output=True, check=False).returncode == 0


def groups_of(name: str) -> list[Path]:
    return [group for hierarchy in hierarchies() for group in hierarchy.glob(f"{name}*")]


def groups_left(name: str, above: Path) -> list[Path]:
    """Return the groups that the next run would leave."""
    remove_leftovers(above)
    return groups_of(name)


def everyones_mounts() -> str:
    """Return what is mounted in the mount namespace of any process."""
    seen: list[str] = []
    for table in Path("/proc").glob("[0-9]*/mountinfo"):
        try:
            seen.append(table.read_text(encoding="utf-8"))
        except OSError:  # It ended meanwhile.
            continue
    return "".join(seen)


def processes_in(network: int) -> list[str]:
    """Return the processes in a network namespace, by the number of its inode."""
    found: list[str] = []
    for link in Path("/proc").glob("[0-9]*/ns/net"):
        try:
            if link.stat().st_ino == network:
                found.append(link.parts[2])
        except OSError:  # It ended meanwhile.
            continue
    return found


def test_a_pod_goes_on_while_the_api_server_is_away(node: NodeCluster, namespace: str) -> None:
    start_pod(node, namespace)
    before = status_of(node, namespace, "p")

    node.stop_api_server(kill=True)
    answered = answers(node)
    node.start_api_server()

    assert answered
    assert status_of(node, namespace, "p") == before


def test_a_pod_goes_on_while_the_kubelet_is_away(node: NodeCluster, namespace: str) -> None:
    start_pod(node, namespace, 9923)
    before = status_of(node, namespace, "p")

    node.stop_kubelet()
    answered = answers(node, 9923)
    node.start_kubelet()

    assert answered
    assert status_of(node, namespace, "p")["containerID"] == before["containerID"]


def test_what_a_kubelet_sets_in_the_kernel_is_set_for_the_node_alone(node: NodeCluster) -> None:
    paths = [f"/proc/sys/{name}" for name in TUNABLES]

    # To write another figure would tell more, and would leave it in the kernel when this fails.
    numbers = node.machine.run("stat", "--format=%d:%i", *paths).split()
    values = node.machine.run("cat", *paths).split()

    files = [(node.machine.folder / "tunables" / name).stat() for name in TUNABLES]
    assert numbers == [f"{file.st_dev}:{file.st_ino}" for file in files]
    assert values == [str(value) for value in TUNABLES.values()]


def test_stopping_leaves_nothing(programs: NodePrograms, tmp_path: Path) -> None:
    cluster = NodeCluster(programs, parent=tmp_path)
    cluster.start()
    start_pod(cluster)
    name, pids = cluster.state.name, cluster.pids()
    network = Path("/proc", str(cluster.machine.pid), "ns/net").stat().st_ino
    assert {"first process", "containerd", "kubelet", "kube-proxy", "kube-apiserver"} <= pids.keys()
    assert processes_in(network)
    assert name in everyones_mounts()
    assert groups_of(name)

    cluster.stop()

    assert [program for program, pid in pids.items() if lives(pid)] == []
    assert processes_in(network) == []
    assert name not in everyones_mounts()
    assert groups_of(name) == []
    assert list(tmp_path.iterdir()) == []


def test_a_run_that_is_killed_leaves_a_folder_and_groups_which_the_next_one_removes(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "support.node", "run"],
        env={**os.environ, "PYTHONPATH": str(ROOT / "tests"), "TMPDIR": str(tmp_path)},
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        assert process.stdout is not None
        inside = next((line for line in process.stdout if line.startswith("alias inside=")), "")
        assert "/ns/net" in inside, f"the command ended with {process.wait(10)}"
        network = Path(inside.partition("--net=")[2].split()[0]).stat().st_ino
        process.send_signal(signal.SIGKILL)
    [left] = [path.name for path in tmp_path.iterdir() if path.name.startswith(PREFIX)]

    eventually(lambda: not processes_in(network) and left not in everyones_mounts())
    assert groups_of(left)
    remove_leftovers(tmp_path)

    assert list(tmp_path.iterdir()) == []
    # The kernel holds a group for some moments longer than the processes that were in it.
    eventually(lambda: groups_left(left, tmp_path) == [])


def test_two_nodes_run_side_by_side(node: NodeCluster, programs: NodePrograms, tmp_path: Path) -> None:
    with NodeCluster(programs, parent=tmp_path) as another:
        start_pod(another, port=9924)

        assert answers(another, 9924)
        assert not answers(node, 9924)
        assert list(tmp_path.iterdir()) == [another.state]

    node.check()
