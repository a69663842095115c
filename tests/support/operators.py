"""`hpi-operator run` as a process of its own against a control plane: started, watched, stopped or killed.

install_operator(cluster)                                    # namespace, account, exactly the rights of rights.py
with OperatorProcess(cluster) as operator:
    operator.wait_until_leading()
    …
    operator.metrics()["hpi_operator_leader"]                # of the process, by name and labels
    operator.kill()                                          # SIGKILL, as a node that dies does it
"""

from __future__ import annotations

import itertools
import json
import os
import re
import signal
import sys
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Any, Final

import httpx2

from hpi_operator.install.namespaces import account_of_self_tests
from hpi_operator.rights import needed_rights, route_rights
from support.control_plane.clients import Client
from support.control_plane.cluster import ControlPlane
from support.control_plane.process import Process
from support.eventually import eventually
from support.installation import INSTALLATION, bind
from support.manifests import Document
from support.process_usage import processor_seconds, resident_bytes

USER: Final = "hpi-operator"
"""In whose name operators speak; the audit log has it, and rules are bound to it."""
NAMESPACE: Final = "hpi-system"
START_SECONDS: Final = 60.0
STOP_SECONDS: Final = 30.0
STARTS: Final = itertools.count(1)
"""Of all operators of these tests: each start has a log of its own."""


def install_operator(cluster: ControlPlane, *, without: Iterable[str] = ()) -> Client:
    """Make the operator's namespace and bind exactly the rights that the code says it needs; return its identity.

    Args:
        cluster: Where.
        without: Rights that are left out, in their own words: `patch services in every namespace`.
    """
    left_out = set(without)
    rights = [*needed_rights(NAMESPACE), *route_rights()]
    unknown = left_out - {str(one) for one in rights}
    assert not unknown, f"the operator does not need {unknown}; it needs {sorted(map(str, rights))}"
    kept = [one for one in rights if str(one) not in left_out]
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}
    # Beside the rights, what an installation has for the operator's own pods.
    made = {"apiVersion": "v1", "kind": "List", "items": [namespace, account_of_self_tests(INSTALLATION)]}
    applied = cluster.kubectl("apply", "--server-side", "-f", "-", stdin=json.dumps(made))
    assert applied.exit_code == 0, applied.error
    bind(cluster, USER, kept)
    return cluster.client(USER)


class OperatorProcess:
    """One running operator, between `with` and its end."""

    def __init__(
        self,
        cluster: ControlPlane,
        *arguments: str,
        name: str = "operator",
        kubeconfig: Path | None = None,
    ) -> None:
        """Describe it.

        Args:
            cluster: Where; `install_operator` was called there.
            arguments: More of `hpi-operator run`.
            name: Of its log file; two operators of one cluster have two.
            kubeconfig: Whose rights it has, and through which proxy. None: the operator's own, and none.
        """
        self._cluster = cluster
        self._arguments = arguments
        self._name = name
        self._kubeconfig = kubeconfig or cluster.client(USER).kubeconfig
        self._process: Process | None = None
        self._start = 0
        self._port = 0

    @property
    def process(self) -> Process:
        """The process."""
        assert self._process is not None, "this operator does not run"
        return self._process

    @property
    def log(self) -> Path:
        """What it wrote to standard error since its last start."""
        return self._cluster.folder / "logs" / f"{self._name}-{self._start}.log"

    def start(self) -> OperatorProcess:
        """Start it, and return when its probes can be asked."""
        self._start = next(STARTS)
        self._process = Process(
            self._name,
            [
                *(sys.executable, "-m", "hpi_operator", "run"),
                *("--kubeconfig", str(self._kubeconfig), "--namespace", NAMESPACE, "--health-port", "0"),
                *self._arguments,
            ],
            directory=self._cluster.folder,
            log=self.log,
            # A proxy of the caller's must not come between programs on loopback.
            environment={"PATH": os.defpath, "HOME": str(self._cluster.folder / "home"), "PYTHONUNBUFFERED": "1"},
        )
        eventually(lambda: self._still() and self.lines("health is served"), seconds=START_SECONDS)
        self._port = int(self.lines("health is served")[0]["port"])
        return self

    def stop(self) -> int | None:
        """End it in order; return its exit code."""
        process, self._process = self.process, None
        os.kill(process.pid, signal.SIGTERM)
        code = process.wait(STOP_SECONDS)
        process.stop(0.0)
        return code

    def kill(self) -> None:
        """End it as a node that dies ends it: SIGKILL, in the middle of what it does."""
        process, self._process = self.process, None
        os.kill(process.pid, signal.SIGKILL)
        process.wait(STOP_SECONDS)
        process.stop(0.0)

    def wait_until_leading(self, seconds: float = START_SECONDS) -> OperatorProcess:
        """Return when it acts."""
        eventually(lambda: self._still() and self.metric("hpi_operator_leader") == 1, seconds=seconds)
        return self

    def wait_until_whole(self, seconds: float = START_SECONDS) -> OperatorProcess:
        """Return when it acts and sees everything."""
        self.wait_until_leading(seconds)
        eventually(lambda: self._still() and self.metric("hpi_operator_pictures_missing") == 0, seconds=seconds)
        return self

    def wait_until_idle(self, seconds: float = START_SECONDS, quiet_looks: int = 10) -> OperatorProcess:
        """Return when no pass has waited or run for some looks in a row, half a second in all."""
        looks = 0

        def is_quiet() -> bool:
            nonlocal looks
            waiting = self.metric("hpi_operator_queue_length") + self.metric("hpi_operator_passes_running")
            looks = looks + 1 if waiting == 0 else 0
            return looks >= quiet_looks

        self.wait_until_whole(seconds)
        eventually(is_quiet, seconds=seconds)
        return self

    def lines(self, message: str | None = None, **values: Any) -> list[Document]:
        """Return what it logged: all of it, or what has a message and values."""
        found = []
        for text in self.log.read_text(encoding="utf-8").splitlines():
            if not text.startswith("{"):
                continue
            line: Document = json.loads(text)
            if message in (None, line["message"]) and all(line.get(key) == value for key, value in values.items()):
                found.append(line)
        return found

    def probe(self, path: str) -> tuple[int, str]:
        """Ask `/healthz`, `/readyz` or `/metrics`; return status and text."""
        with httpx2.Client(trust_env=False, timeout=10.0) as http:
            answer = http.get(f"http://127.0.0.1:{self._port}{path}")
        return answer.status_code, answer.text

    def metrics(self) -> dict[str, float]:
        """Return every metric by its name and labels, as Prometheus would read it."""
        _, text = self.probe("/metrics")
        pairs = (re.fullmatch(r"(\S+(?:\{.*\})?) (\S+)", line) for line in text.splitlines() if line[:1] != "#")
        return {pair[1]: float(pair[2]) for pair in pairs if pair is not None}

    def metric(self, name: str) -> float:
        """Return the sum of a metric over its labels; 0 where there is none yet."""
        return sum(value for key, value in self.metrics().items() if key.partition("{")[0] == name)

    @property
    def resident_bytes(self) -> int:
        """Memory that it holds now."""
        return resident_bytes(self.process.pid)

    @property
    def processor_seconds(self) -> float:
        """Time of processors that it has used."""
        return processor_seconds(self.process.pid)

    def __enter__(self) -> OperatorProcess:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process is not None:
            self._process.stop()
            self._process = None

    def _still(self) -> bool:
        code = self.process.exit_code
        assert code is None, f"the operator ended with {code}:\n{self.process.last_lines()}"
        return True
