"""What a server tells the agent of its node, over real HTTP: when, how often, and what it catches up on."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from hpi_agent.exchange.push import deliver
from hpi_agent.serve.reporter import Reporter, Reporting
from hpi_agent.store.directory import Store
from hpi_core.errors import Refused
from support.played_agent import an_agent, environment_of
from support.shared_engines import MadeUp, built_bytes, decide

NEVER = 3_600.0
SOON = 0.1
PATIENCE_SECONDS = 60.0


def described(state: str, key: str = "sha256:" + "0" * 64, backend: str = "openvino") -> dict[str, Any]:
    gate = {"level": "Auto", "minimumSamples": 20}
    asked = {"key": key, "modelName": "m", "modelDigest": key, "modelFormat": "ONNX", "accuracy": gate}
    return {
        "models": [
            {
                "name": "m",
                "state": state,
                "reason": "why",
                "decisionKey": key,
                "engineKey": None,
                "backend": backend,
                "precision": "float32",
            }
        ],
        "resolutions": [asked],
        "cautious": False,
    }


@dataclass
class Pod:
    """A pod's environment, and what its reporter did."""

    environment: dict[str, str]
    store: Path
    report_seconds: float = NEVER
    away_seconds: float = SOON
    takes: bool = True
    states: list[str] = field(default_factory=list)
    results: list[str] = field(default_factory=list)

    def reporter(self) -> Reporter:
        reporting = Reporting.read({**self.environment, "HPI_REVISION": "r1"}, "ocr", self.store, takes=self.takes)
        assert reporting is not None
        return Reporter(
            reporting,
            lambda told: self.states.append(told["state"]),
            self.results.append,
            self.report_seconds,
            self.away_seconds,
        )

    def live(self, life: Callable[[Reporter], Awaitable[None]]) -> None:
        """Run the reporter while a life goes on."""

        async def run() -> None:
            reporter = self.reporter()
            task = asyncio.create_task(reporter.run())
            try:
                await asyncio.wait_for(life(reporter), PATIENCE_SECONDS)
            finally:
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await task

        asyncio.run(run())


async def until(holds: Callable[[], object]) -> None:
    while not holds():
        await asyncio.sleep(0.01)


def test_it_reports_what_changed_and_nothing_twice(tmp_path: Path) -> None:
    with an_agent(tmp_path / "node") as agent:
        pod = Pod(agent.environment(), tmp_path / "store")

        async def life(reporter: Reporter) -> None:
            reporter.show(described("Unmeasured"), is_building=True)
            await until(lambda: len(pod.results) == 1)
            reporter.show(described("Unmeasured"), is_building=True)
            await asyncio.sleep(0.2)
            reporter.show(described("Provisional"), is_building=True)
            await until(lambda: len(pod.results) == 2)
            reporter.show(described("Measured"), is_building=False)
            await until(lambda: len(pod.results) == 3)

        pod.live(life)

        words = [report.engine_active for _, report in agent.reports.taken]
    assert words == ["Building", "Provisional", "Measured"]
    assert pod.states == ["Answers"]


def test_a_change_over_to_another_backend_is_reported(tmp_path: Path) -> None:
    with an_agent(tmp_path / "node") as agent:
        pod = Pod(agent.environment(), tmp_path / "store")

        async def life(reporter: Reporter) -> None:
            reporter.show(described("Measured", backend="onnxruntime"), is_building=False)
            await until(lambda: len(pod.results) == 1)
            reporter.show(described("Measured", backend="openvino"), is_building=False)
            await until(lambda: len(pod.results) == 2)

        pod.live(life)

        words = [(report.backends, [one.backend for one in report.models]) for _, report in agent.reports.taken]
    assert words == [(("onnxruntime",), ["onnxruntime"]), (("openvino",), ["openvino"])]


def test_it_says_the_same_again_after_a_while(tmp_path: Path) -> None:
    with an_agent(tmp_path / "node") as agent:
        pod = Pod(agent.environment(), tmp_path / "store", report_seconds=SOON)

        async def life(reporter: Reporter) -> None:
            reporter.show(described("Measured"), is_building=False)
            await until(lambda: len(pod.results) >= 3)

        pod.live(life)

        [first, *others] = [report for _, report in agent.reports.taken]
    assert set(map(repr, others)) == {repr(first)}
    assert pod.states == ["Answers"]


def test_the_end_of_a_builder_that_decided_nothing_is_news(tmp_path: Path) -> None:
    with an_agent(tmp_path / "node") as agent:
        pod = Pod(agent.environment(), tmp_path / "store")

        async def life(reporter: Reporter) -> None:
            reporter.show(described("Unmeasured"), is_building=True)
            await until(lambda: len(pod.results) == 1)
            reporter.built()
            await until(lambda: len(pod.results) == 2)

        pod.live(life)

        words = [report.engine_active for _, report in agent.reports.taken]
    assert words == ["Building", "Fallback"]


def test_an_agent_that_comes_back_gets_the_report_and_what_was_built_meanwhile(tmp_path: Path) -> None:
    made = decide(tmp_path / "store")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    token = "token-of-team-a-ocr-1-node-1"  # noqa: S105 - of the played agent
    pod = Pod(environment_of(f"http://127.0.0.1:{port}", tmp_path, token), tmp_path / "store")
    found: list[object] = []

    async def life(reporter: Reporter) -> None:
        reporter.show(described("Measured", made.key), is_building=False)
        await until(lambda: reporter.state == "Away")
        assert "does not answer" in reporter.describe()["message"]
        with an_agent(tmp_path / "node", port=port) as agent:
            agent.token_of("team-a")
            await until(lambda: reporter.state == "Answers")
            found.append(agent.reports.taken[-1][1].engine_active)
            found.append(await asyncio.to_thread(agent.client(pod="ocr-2").decision, made.key))

    pod.live(life)

    assert found == ["Measured", made.decision.to_json()]
    assert pod.states[0] == "Away"
    assert pod.states[-1] == "Answers"


@pytest.mark.parametrize("takes", [True, False])
def test_what_others_decided_is_taken_where_the_pod_has_no_decision_of_its_own(tmp_path: Path, takes: bool) -> None:
    made, own = decide(tmp_path / "other"), Store(tmp_path / "store")
    with an_agent(tmp_path / "node") as agent:
        deliver(agent.client(pod="ocr-2"), made.store, made.key)
        pod = Pod(agent.environment(), own.root, takes=takes)

        async def life(reporter: Reporter) -> None:
            reporter.show(described("Unmeasured", made.key), is_building=False)
            await until(lambda: reporter.state == "Answers")

        pod.live(life)

    assert (own.read_decision(made.key) is not None) == takes
    assert (built_bytes(own, made.engine) is not None) == takes


def test_a_final_decision_of_the_pods_own_is_never_replaced(tmp_path: Path) -> None:
    theirs = decide(tmp_path / "other", build_seconds=1.0)
    own: MadeUp = decide(tmp_path / "store", build_seconds=2.0)
    with an_agent(tmp_path / "node") as agent:
        deliver(agent.client(pod="ocr-2"), theirs.store, theirs.key)
        pod = Pod(agent.environment(), tmp_path / "store")

        async def life(reporter: Reporter) -> None:
            reporter.show(described("Fallback", own.key), is_building=False)
            await until(lambda: reporter.state == "Answers")

        pod.live(life)

    assert own.store.read_decision(own.key) == own.decision.to_json()


def test_a_pod_that_nobody_knows_is_refused_and_says_so(tmp_path: Path) -> None:
    with an_agent(tmp_path / "node") as agent:
        pod = Pod(environment_of(agent.url, tmp_path, "nobody's"), tmp_path / "store")

        async def life(reporter: Reporter) -> None:
            reporter.show(described("Measured"), is_building=False)
            await until(lambda: reporter.state == "Refuses")

        pod.live(life)

    assert pod.states == ["Refuses"]
    assert pod.results == ["failed"]


def test_a_pod_that_ends_says_so_once(tmp_path: Path) -> None:
    with an_agent(tmp_path / "node") as agent:
        pod = Pod(agent.environment(), tmp_path / "store")

        async def life(reporter: Reporter) -> None:
            reporter.show(described("Measured"), is_building=False)
            await until(lambda: reporter.state == "Answers")
            await reporter.leave()

        pod.live(life)

        assert len(agent.reports.left) == 1


def test_an_agent_needs_a_revision_to_be_told_of() -> None:
    environment = {"HPI_AGENT": "http://10.0.0.7:8470", "HPI_AGENT_TOKEN": "/token"}

    with pytest.raises(Refused, match="HPI_REVISION is not"):
        Reporting.read(environment, "ocr", Path("/store"), takes=True)
    assert Reporting.read({}, "ocr", Path("/store"), takes=True) is None
