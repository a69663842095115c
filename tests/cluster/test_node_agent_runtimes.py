"""Runtimes that a real `hpi-agent node` installs from a wheelhouse: told as they come, entered by pods, removed."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from hpi_core.digest import digest_of_bytes
from hpi_core.names import SELF_TEST_ACCOUNT, self_test_name
from support.cluster_client import MERGE
from support.eventually import eventually
from support.manifests import Document
from support.node_agents import OWN, AgentSite, NodeAgent
from support.read_only_mount import mounted_read_only
from support.wheelhouse import a_configs_folder, a_list, a_wheel, a_wheelhouse

pytestmark = pytest.mark.slow

OTHER_LOCK = "sha256:" + "e" * 64
RUNTIME = "tiny-1"
OPERATOR = "hpi-system"
MOUNTED = "runtimes"
PASSES = "import json, pathlib, sys, tinyone\npathlib.Path(sys.argv[1]).write_text(json.dumps({'sum': 3}))\n"


class Delivery:
    """A wheelhouse, a lock, and agents that install from them."""

    def __init__(self, site: AgentSite, folder: Path, self_test: str = PASSES) -> None:
        self.site = site
        self.folder = folder
        self.wheelhouse = a_wheelhouse(folder / "wheelhouse")
        # The engines of these tests' own environment, so that the variant can compute.
        beside = {"beside/__init__.py": "def main() -> None:\n    pass\n"}
        a_wheel(self.wheelhouse, "beside", "1.0", {**beside, "beside.pth": sysconfig.get_path("purelib") + "\n"})
        text = a_list(self.wheelhouse)
        self.configs = a_configs_folder(folder / "configs", text, self_test=self_test)
        self.lock = digest_of_bytes([text.encode()])
        self.runtimes = folder / "node" / "runtimes"

    def agent(self, node: str, *arguments: str) -> NodeAgent:
        places = (
            "--runtimes",
            str(self.runtimes),
            "--wheelhouse",
            str(self.wheelhouse),
            "--configs",
            str(self.configs),
        )
        return NodeAgent(self.site, node, *places, "--unwanted-seconds", "1", *arguments)

    def wanted(self, lock: str | None = None) -> Document:
        return {"name": RUNTIME, "lockDigest": lock or self.lock, "delivery": "Store", "variant": "tiny"}

    def node(self, lock: str | None = None) -> str:
        return self.site.make_node(runtimes=[self.wanted(lock)])

    def want(self, node: str, *runtimes: Document) -> None:
        body = {"spec": {"runtimes": list(runtimes)}}
        self.site.admin.request("PATCH", f"{OWN}/hpinodes/{node}", body, content_type=MERGE)

    def row(self, node: str) -> Document:
        rows = self.site.status(node).get("runtimes", [])
        return rows[0] if rows else {}

    def is_in(self, node: str, state: str) -> Document:
        def look() -> Document:
            assert self.row(node).get("state") == state, self.row(node)
            return self.row(node)

        return eventually(look, seconds=120)

    def trees(self) -> list[str]:
        return sorted(path.name for path in (self.runtimes / "plugins").glob("tiny-*"))

    def in_a_pod(self, *arguments: str, lock: str | None = None, **variables: str) -> subprocess.Popen[str]:
        """Run `hpi-agent` as a pod does whose runtime is mounted read-only."""
        mounted = self.folder / "pod" / MOUNTED
        home = self.folder / "pod"
        own = {"HPI_RUNTIMES": str(mounted), "HPI_VARIANT": "tiny", "HPI_LOCK_DIGEST": lock or self.lock}
        return subprocess.Popen(
            [*mounted_read_only(self.runtimes, mounted), sys.executable, "-m", "hpi_agent", *arguments],
            env={"PATH": os.defpath, "HOME": str(home), "HPI_STORE": str(home / "store"), **own, **variables},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )


@pytest.fixture
def delivery(agent_site: AgentSite, tmp_path: Path) -> Delivery:
    return Delivery(agent_site, tmp_path)


def test_a_runtime_is_installed_tested_by_a_pod_that_mounts_it_read_only_and_usable(
    agent_site: AgentSite, delivery: Delivery, tmp_path: Path
) -> None:
    node = delivery.node()
    token = tmp_path / "token"
    name = self_test_name(node, agent_site.node_uid(node), RUNTIME, delivery.lock)
    token.write_text(agent_site.token_of(OPERATOR, node, SELF_TEST_ACCOUNT, name))

    with delivery.agent(node) as agent:
        row = delivery.is_in(node, "Installed")
        assert "selfTest" not in row
        assert row["lockDigest"] == delivery.lock
        conditions = {one["type"]: one for one in agent_site.status(node)["conditions"]}
        assert conditions["Ready"]["reason"] == "SelfTestRunning"
        told = {"HPI_RUNTIME": RUNTIME, "HPI_AGENT": f"http://127.0.0.1:{agent.port}", "HPI_AGENT_TOKEN": str(token)}
        pod = delivery.in_a_pod("self-test", "--backend", "onnxruntime", "-o", "json", **told)
        output, errors = pod.communicate(timeout=120)
        assert pod.returncode == 0, errors
        assert '"works": true' in output

        usable = delivery.is_in(node, "Usable")
        assert (usable["selfTest"]["state"], usable["backends"]) == ("Passed", ["onnxruntime"])

        # What was installed and tested is known to an agent that begins anew; nothing is written.
        agent.kill()
        agent.start()
        eventually(lambda: len(agent.lines("the HPINode is watched")) == 2)
        assert delivery.row(node) == usable
        assert len(agent.lines("a runtime is being installed")) == 1
        assert agent.stop() == 0


def test_a_lock_that_the_agent_does_not_have_is_refused_with_both(agent_site: AgentSite, delivery: Delivery) -> None:
    node = delivery.node(OTHER_LOCK)

    with delivery.agent(node):
        row = delivery.is_in(node, "Failed")
        eventually(lambda: agent_site.status(node)["conditions"][0]["reason"] == "RuntimeInstallFailed")
        delivery.want(node, delivery.wanted())
        delivery.is_in(node, "Installed")

    assert f"{OTHER_LOCK} is wanted of tiny" in row["message"]
    assert f"this agent has {delivery.lock} for Python" in row["message"]
    assert delivery.trees() == [one for one in delivery.trees() if delivery.lock[7:23] in one]


def test_a_wheel_that_is_missing_is_named_and_nothing_is_left(delivery: Delivery) -> None:
    node = delivery.node()
    [wheel] = delivery.wheelhouse.glob("tinytwo-*")
    wheel.unlink()

    with delivery.agent(node):
        row = delivery.is_in(node, "Failed")

    assert "tinytwo" in row["message"]
    assert "lacks a wheel" in row["message"]
    assert delivery.trees() == []


HUNGRY = "import time\nheld = bytearray(400 * 2**20)\nheld[::4096] = b'x' * len(held[::4096])\ntime.sleep(600)\n"


@pytest.mark.parametrize(
    ("self_test", "arguments", "why"),
    [
        (HUNGRY, ("--install-memory", "256MiB"), "it was ended beyond 256 MiB of memory: raise the memory limit"),
        ("import time\ntime.sleep(600)\n", ("--install-seconds", "20"), "it was ended after 20 s"),
    ],
    ids=["memory", "time"],
)
def test_an_installation_that_takes_too_much_is_ended_and_the_agent_goes_on(
    agent_site: AgentSite, tmp_path: Path, self_test: str, arguments: tuple[str, ...], why: str
) -> None:
    delivery = Delivery(agent_site, tmp_path, self_test)
    node = delivery.node()

    with delivery.agent(node, *arguments) as agent:
        row = delivery.is_in(node, "Failed")
        healthy = agent.ask("GET", "/healthz", "nobody").text

    assert why in row["message"]
    assert healthy == "ok"
    assert delivery.trees() == []


def test_an_environment_that_nothing_wants_goes_when_no_pod_uses_it(delivery: Delivery) -> None:
    node = delivery.node()

    with delivery.agent(node) as agent:
        delivery.is_in(node, "Installed")
        # It waits for the rest of its manifest, inside the environment.
        pod = delivery.in_a_pod("build", "-f", "-")
        eventually(lambda: is_in_use(delivery))
        delivery.want(node)
        eventually(lambda: delivery.site.status(node).get("runtimes", []) == [])
        eventually(lambda: len(agent.lines("an environment that nothing wants is in use")) >= 1)
        assert len(delivery.trees()) == 1

        assert pod.stdin is not None
        pod.communicate("", timeout=60)

        eventually(lambda: delivery.trees() == [])
        assert agent.stop() == 0


def is_in_use(delivery: Delivery) -> bool:
    """Return whether a process runs inside an environment."""
    [tree] = delivery.trees()
    mine = f"{delivery.folder / 'pod' / MOUNTED}/plugins/{tree}/bin/python"
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if path.read_bytes().split(b"\0")[0].decode() == mine:
                return True
        except OSError:
            continue
    return False


def test_a_pod_of_another_lock_is_told_what_is_there(delivery: Delivery) -> None:
    node = delivery.node()
    with delivery.agent(node):
        delivery.is_in(node, "Installed")

    pod = delivery.in_a_pod("self-test", lock=OTHER_LOCK)
    _, errors = pod.communicate(timeout=60)

    assert pod.returncode == 1
    assert f"has no tiny with {OTHER_LOCK}; it has {delivery.trees()[0]}" in errors
