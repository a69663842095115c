"""kubelet and kube-proxy on a machine: started, asked whether they are ready, ended."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import httpx2

from hpi_core.errors import Bug, Stop
from support.control_plane.process import Process, describe_exit
from support.node.flags import PROXY_HEALTH, NodeSetting, kubelet_arguments, proxy_arguments
from support.node.machine import Machine
from support.node.network import bridge_is_filtered
from support.node.programs import NodePrograms

KUBELET: Final = "kubelet"
PROXY: Final = "kube-proxy"
POLL_SECONDS: Final = 0.1


class Daemons:
    """The programs of Kubernetes on a node."""

    def __init__(
        self, machine: Machine, programs: NodePrograms, setting: NodeSetting, kubelet: Mapping[str, Any], logs: Path
    ) -> None:
        """Describe them.

        Args:
            machine: Where they run.
            programs: With kubelet, kube-proxy and nftables.
            setting: What they are told.
            kubelet: Fields of `KubeletConfiguration` that win.
            logs: Folder that takes what they write.
        """
        self._machine = machine
        self._programs = programs
        self._setting = setting
        self._changes = dict(kubelet)
        self._logs = logs
        self.running: dict[str, Process] = {}

    def start_kubelet(self, http: httpx2.Client, server: str, seconds: float) -> None:
        """Start the kubelet, the first time or again, and return when pods may land on the node.

        Args:
            http: Speaks to the API server as somebody who may see nodes.
            server: URL of the API server.
            seconds: When that has failed.

        Raises:
            Stop: It ended, or the node was not ready in time.
        """
        self._start(KUBELET, kubelet_arguments(self._setting, self._changes))
        url = f"{server}/api/v1/nodes/{self._setting.name}"
        self._wait_until(KUBELET, lambda: node_problem(http, url), seconds)

    def start_proxy(self, http: httpx2.Client, seconds: float) -> None:
        """Start kube-proxy and return when its rules are there; the thread must be inside the network.

        Raises:
            Stop: It ended, or was not ready in time.
        """
        self._start(PROXY, proxy_arguments(self._setting, bridge_is_filtered=bridge_is_filtered()))
        self._wait_until(PROXY, lambda: proxy_problem(http), seconds)

    def kill(self, program: str) -> None:
        """Kill one of them.

        Raises:
            Bug: It does not run.
        """
        if program not in self.running:
            raise Bug(f"{program} does not run on this node")
        self.running.pop(program).stop(0.0)

    def stop(self) -> None:
        """Kill all of them; a second call does nothing."""
        for program in tuple(self.running):
            self.kill(program)

    def check(self) -> None:
        """Do nothing while those run that were started.

        Raises:
            Stop: One has ended; the text has its last lines.
        """
        for process in self.running.values():
            if (code := process.exit_code) is not None:
                raise Stop(f"{process.name} ended with {describe_exit(code)}; its last lines:\n{process.last_lines()}")

    def _start(self, program: str, arguments: Sequence[str]) -> None:
        if program in self.running:
            raise Bug(f"{program} runs already")
        command = [str(self._programs.node[program]), *arguments]
        environment = {**self._programs.debian.environment(), "HOME": "/"}
        self.running[program] = self._machine.start(program, command, self._logs / f"{program}.log", environment)

    def _wait_until(self, program: str, problem: Callable[[], str | None], seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while (said := problem()) is not None:
            self.check()
            if time.monotonic() > deadline:
                raise Stop(
                    f"{program} was not ready within {seconds:g} s: {said}\n"
                    f"Its last lines:\n{self.running[program].last_lines()}"
                )
            time.sleep(POLL_SECONDS)


def node_problem(http: httpx2.Client, url: str) -> str | None:
    """Return why no pod may land on a node, None when it may: it is ready and has no taints."""
    answer = http.get(url)
    if answer.status_code != 200:
        return f"{answer.status_code}, {answer.text[-300:]}"
    node = answer.json()
    ready = [one for one in node["status"].get("conditions", []) if one["type"] == "Ready"]
    if not ready or ready[0]["status"] != "True":
        return str(ready)
    taints = node["spec"].get("taints")
    return f"it has the taints {taints}" if taints else None


def proxy_problem(http: httpx2.Client) -> str | None:
    """Return why kube-proxy is not ready, None when it is."""
    try:
        answer = http.get(PROXY_HEALTH)
    except httpx2.TransportError as error:
        return f"{type(error).__name__}: {error}"
    return None if answer.status_code == 200 else f"{answer.status_code}, {answer.text[-300:]}"
