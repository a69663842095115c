"""An agent for tests of its pods: the real server on loopback and the real cache; who is who and who builds is played.

Run as a program it serves until its standard input ends: python -m support.played_agent FOLDER PORT FREE TOKEN=TENANT…
FREE is the room in bytes that it leaves alone on its volume.
"""

from __future__ import annotations

import contextlib
import hashlib
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Final

from hpi_agent.exchange.address import AgentAddress
from hpi_agent.exchange.client import AgentClient
from hpi_agent.exchange.connection import DEFAULT_PATIENCE, Patience
from hpi_agent.exchange.limits import DEFAULT_LIMITS, Limits
from hpi_agent.exchange.reports import (
    Asked,
    DecisionReport,
    FailureReport,
    Granted,
    Held,
    SelfTestReport,
    WorkloadReport,
)
from hpi_agent.exchange.roles import PodIdentity, Shares
from hpi_agent.exchange.server import ExchangeServer
from hpi_agent.exchange.service import Exchange, own_namespace
from hpi_agent.models.sources.patience import Patience as Attempts
from hpi_agent.store.directory import Store
from hpi_core.errors import Refused, Retry

NODE: Final = "node-1"
NEVER: Final = datetime(2100, 1, 1, tzinfo=timezone.utc)
QUICK: Final = Attempts(attempts=3, first_pause_seconds=0.01, longest_pause_seconds=0.02)
LEASE_SECONDS: Final = 30


def an_identity(namespace: str, pod: str = "ocr-1", node: str = NODE) -> PodIdentity:
    """Return who a pod is."""
    digits = hashlib.sha256(f"{namespace}/{pod}".encode()).hexdigest()
    uid = "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:32]))
    return PodIdentity(namespace, pod, uid, "ocr", node, NEVER)


@dataclass
class PlayedIdentify:
    """Knows tokens as an API server does: each is a pod's, for an audience."""

    pods: dict[str, PodIdentity] = field(default_factory=dict)
    audiences: dict[str, str] = field(default_factory=dict)
    """Of tokens for another audience than the agent's."""
    away: bool = False
    asked: int = 0

    def __call__(self, token: str) -> PodIdentity:
        """Return whose a token is."""
        self.asked += 1
        if self.away:
            raise Retry("the API server does not answer")
        who = self.pods.get(token)
        if who is None or self.audiences.get(token, "hpi-agent") != "hpi-agent":
            raise Refused("the token is not known, or for another audience than hpi-agent")
        if who.node != NODE:
            raise Refused(f"the pod is on node {who.node}, this is the agent of {NODE}")
        return who


@dataclass
class PlayedReports:
    """Keeps what pods tell."""

    taken: list[tuple[PodIdentity, WorkloadReport]] = field(default_factory=list)
    self_tests: list[tuple[PodIdentity, SelfTestReport]] = field(default_factory=list)
    left: list[str] = field(default_factory=list)

    def take(self, who: PodIdentity, report: WorkloadReport) -> None:
        """Keep it."""
        self.taken.append((who, report))

    def self_tested(self, who: PodIdentity, report: SelfTestReport) -> None:
        """Keep it, if a pod of that sort says it."""
        if not who.pod.startswith("self-test-"):
            raise Refused(f"{who.namespace}/{who.pod} is no self-test of this node")
        self.self_tests.append((who, report))

    def gone(self, pod_uid: str) -> None:
        """Keep that it is gone."""
        self.left.append(pod_uid)


@dataclass
class PlayedBuilds:
    """Lets one pod build at a time, without a clock: what is lost is lost by `lose`."""

    held: dict[tuple[str, str], tuple[PodIdentity, int]] = field(default_factory=dict)
    elsewhere: dict[tuple[str, str], str] = field(default_factory=dict)
    """Node whose agent holds the Lease, by namespace and name."""
    seconds: int = LEASE_SECONDS
    decisions: list[DecisionReport] = field(default_factory=list)
    failures: list[FailureReport] = field(default_factory=list)
    asked: list[Asked] = field(default_factory=list)
    chosen_before: str | None = None
    """Key of the engine that a pod chose last on busy cores."""
    renewals: int = 0
    _tokens: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def acquire(self, who: PodIdentity, name: str, asked: Asked) -> Granted | Held:
        """Give the right to the first who asks."""
        with self._lock:
            self.asked.append(asked)
            key = who.namespace, name
            if key in self.elsewhere:
                return Held(holder=self.elsewhere[key], here=False, seconds=1)
            if key in self.held and self.held[key][0] != who:
                return Held(holder=NODE, here=True, seconds=1)
            if key not in self.held:
                self._tokens += 1
                self.held[key] = who, self._tokens
            told = {"token": self.held[key][1], "seconds": self.seconds, "chosenBefore": self.chosen_before}
            return Granted.model_validate(told)

    def renew(self, who: PodIdentity, name: str, token: int) -> Granted:
        """Keep the right."""
        with self._lock:
            self._check(who, name, token)
            self.renewals += 1
            return Granted(token=token, seconds=self.seconds)

    def release(self, who: PodIdentity, name: str, token: int) -> None:
        """Give it back."""
        with self._lock:
            if self.held.get((who.namespace, name)) == (who, token):
                del self.held[who.namespace, name]

    def decided(self, who: PodIdentity, name: str, report: DecisionReport) -> None:
        """Keep what was decided."""
        with self._lock:
            self._check(who, name, report.token)
            self.decisions.append(report)
            del self.held[who.namespace, name]

    def failed(self, who: PodIdentity, name: str, report: FailureReport) -> None:
        """Keep why nothing was decided."""
        with self._lock:
            self._check(who, name, report.token)
            self.failures.append(report)
            del self.held[who.namespace, name]

    def lose(self) -> None:
        """Take every right away, as when a Lease expires."""
        with self._lock:
            self.held.clear()

    def _check(self, who: PodIdentity, name: str, token: int) -> None:
        if self.held.get((who.namespace, name)) != (who, token):
            raise Refused(f"the right to build {name} was lost")


@dataclass
class PlayedAgent:
    """One agent that serves now."""

    server: ExchangeServer
    exchange: Exchange
    identify: PlayedIdentify
    reports: PlayedReports
    builds: PlayedBuilds
    folder: Path

    @property
    def url(self) -> str:
        """`http://127.0.0.1:PORT`."""
        return f"http://127.0.0.1:{self.server.port}"

    def token_of(self, namespace: str, pod: str = "ocr-1", node: str = NODE) -> str:
        """Return the token of a pod, as the kubelet would project it."""
        token = f"token-of-{namespace}-{pod}-{node}"
        self.identify.pods[token] = an_identity(namespace, pod, node)
        return token

    def environment(self, namespace: str = "team-a", pod: str = "ocr-1") -> dict[str, str]:
        """Return what a pod has of its agent in its environment."""
        return environment_of(self.url, self.folder, self.token_of(namespace, pod))

    def client(self, namespace: str = "team-a", pod: str = "ocr-1", node: str = NODE, **given: Any) -> AgentClient:
        """Return a pod's client."""
        return a_client(self.url, self.folder, self.token_of(namespace, pod, node), **given)


def environment_of(url: str, folder: Path, token: str) -> dict[str, str]:
    """Return the environment of a pod, with its token in a file."""
    file = folder / f"{hashlib.sha256(token.encode()).hexdigest()[:16]}.token"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(token, encoding="ascii")
    return {"HPI_AGENT": url, "HPI_AGENT_TOKEN": str(file)}


def a_client(
    url: str, folder: Path, token: str, attempts: Attempts = QUICK, patience: Patience = DEFAULT_PATIENCE
) -> AgentClient:
    """Return a client with a token."""
    address = AgentAddress.read(environment_of(url, folder, token))
    assert address is not None
    return AgentClient(address, attempts, patience)


@contextlib.contextmanager
def an_agent(
    folder: Path,
    *,
    limits: Limits = DEFAULT_LIMITS,
    port: int = 0,
    shares: Shares = own_namespace,
    max_bytes: int | None = None,
    identify: PlayedIdentify | None = None,
) -> Iterator[PlayedAgent]:
    """Serve until the block ends; the cache lies in `folder/cache` and stays."""
    roles = (identify or PlayedIdentify(), PlayedReports(), PlayedBuilds())
    exchange = Exchange(Store(folder / "cache", max_bytes), *roles, shares, limits)
    server = ExchangeServer(exchange, socket.create_server(("127.0.0.1", port), reuse_port=True))
    server.start()
    try:
        yield PlayedAgent(server, exchange, *roles, folder)
    finally:
        server.stop()


@contextlib.contextmanager
def an_agent_process(
    folder: Path, tokens: Mapping[str, str], *, port: int = 0, free_bytes: int = 0, within: Sequence[str] = ()
) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Run an agent in a process of its own until the block ends; yield it and its URL."""
    words = [str(folder), str(port), str(free_bytes), *(f"{token}={namespace}" for token, namespace in tokens.items())]
    command = [*within, sys.executable, "-m", "support.played_agent", *words]
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[1]
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        url = process.stdout.readline().strip()
        assert url, f"the agent ended with {process.wait(10)}"
        yield process, url
    finally:
        process.stdin.close()
        process.stdout.close()
        process.kill()
        process.wait()


def main(folder: str, port: str, free_bytes: str, tokens: Mapping[str, str]) -> None:
    """Serve until standard input ends."""
    identify = PlayedIdentify({token: an_identity(namespace) for token, namespace in tokens.items()})
    limits = Limits(free_bytes=int(free_bytes))
    with an_agent(Path(folder), port=int(port), identify=identify, limits=limits) as agent:
        print(agent.url, flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3], dict(word.split("=", 1) for word in sys.argv[4:]))
