"""Whole servers beside the agent of their node: what comes from its cache, what it is told, and a day without it."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hpi_agent.exchange.push import deliver
from hpi_agent.exchange.reports import WorkloadReport
from hpi_agent.store.directory import Store
from support.eventually import eventually
from support.images import text_page
from support.played_agent import PlayedAgent, an_agent, environment_of
from support.servers import RunningServer, built_store, sample_manifest, serving, texts

REVISION = "5d8c7b9f4a"
LINES = ["what one pod built", "every pod has"]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Return a store in which the sample was built; it is only read."""
    return Store(built_store(tmp_path_factory.getbasetemp()))


@contextlib.contextmanager
def a_pod(
    environment: dict[str, str], store: Path, monkeypatch: pytest.MonkeyPatch, **spec: Any
) -> Iterator[RunningServer]:
    for name, value in {**environment, "HPI_REVISION": REVISION}.items():
        monkeypatch.setenv(name, value)
    with serving(sample_manifest(**spec), store) as server:
        yield server


def agent_of(server: RunningServer) -> dict[str, Any]:
    with server.client() as client:
        told: dict[str, Any] = client.get("/engines").json()["agent"]
        return told


def metrics_of(server: RunningServer) -> str:
    with server.client() as client:
        return str(client.get("/metrics").text)


def states(server: RunningServer) -> set[str]:
    return {model["state"] for model in server.engines().values()}


def start_seconds(server: RunningServer) -> dict[str, float]:
    found: dict[str, float] = server.wait_for("ready")["startSeconds"]
    return found


def last_report(agent: PlayedAgent) -> WorkloadReport:
    return eventually(lambda: agent.reports.taken)[-1][1]


def fill(agent: PlayedAgent, store: Store) -> None:
    for key in store.decision_keys():
        assert deliver(agent.client(pod="ocr-builder"), store, key) == "Sent"


def test_a_second_pod_is_ready_on_the_engines_that_the_first_has_built(
    built: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with an_agent(tmp_path / "node") as agent:
        fill(agent, built)

        with a_pod(agent.environment(), tmp_path / "store", monkeypatch) as server:
            first = server.engines()
            answer = server.read(text_page(*LINES))
            report = last_report(agent)
            told = eventually(lambda: [one for one in [agent_of(server)] if one["state"] == "Answers"])[0]
            shown = metrics_of(server)
            code = server.terminate()

        assert {model["state"] for model in first.values()} == {"Measured"}
        assert any(model["fromStore"] for model in first.values())
        assert texts(answer) == LINES
        assert (report.pipeline, report.revision, report.engine_active) == ("ocr", REVISION, "Measured")
        assert {one.key for one in report.engines} == {model["decisionKey"] for model in first.values()}
        assert told["address"] == agent.url
        assert 'hpi_agent_state{state="Answers"} 1.0' in shown
        assert 'hpi_agent_reports_total{result="ok"} 1.0' in shown
        assert code == 0
        assert len(agent.reports.left) == 1


def test_a_pod_of_another_namespace_gets_none_of_it(
    built: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with an_agent(tmp_path / "node") as agent:
        fill(agent, built)

        with a_pod(agent.environment("team-b"), tmp_path / "store", monkeypatch) as server:
            report = last_report(agent)

            assert states(server) == {"Unmeasured"}

    # Nothing is built beside this server.
    assert report.engine_active == "Fallback"
    assert Store(tmp_path / "store").decision_keys() == []


def test_a_pod_whose_agent_is_away_serves_and_says_so_and_reports_and_sends_when_it_comes(
    built: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(built.root, tmp_path / "store", symlinks=True)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    environment = environment_of(f"http://127.0.0.1:{port}", tmp_path, "token-of-team-a-ocr-1-node-1")

    with a_pod(environment, tmp_path / "store", monkeypatch) as server:
        away = server.wait_for("agent")
        shown = metrics_of(server)
        answer = server.read(text_page(*LINES))
        with an_agent(tmp_path / "node", port=port) as agent:
            agent.token_of("team-a")
            back = server.wait_for("agent", 2)
            report = agent.reports.taken[-1][1]
            cached = {key for key in built.decision_keys() if agent.client(pod="ocr-2").decision(key)}

    assert (away["state"], back["state"]) == ("Away", "Answers")
    assert "does not answer" in away["message"]
    assert 'hpi_agent_state{state="Away"} 1.0' in shown
    assert texts(answer) == LINES
    assert report.engine_active == "Measured"
    assert cached == set(built.decision_keys())


def test_an_agent_that_hangs_does_not_keep_a_pod_from_being_ready_nor_from_ending(
    built: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as hanging:
        environment = environment_of(f"http://127.0.0.1:{hanging.getsockname()[1]}", tmp_path, "token")
        with a_pod(environment, tmp_path / "store", monkeypatch) as server:
            waited = start_seconds(server)["nodeCache"]
            began = time.monotonic()
            code = server.terminate()
            ended = time.monotonic() - began

    # It is not waited for at all; the rest is a slow machine.
    assert waited < 1
    assert code == 0
    assert ended < 15


def test_a_bad_token_is_said_and_the_pod_serves_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with an_agent(tmp_path / "node") as agent:
        environment = environment_of(agent.url, tmp_path, "nobody's")
        with a_pod(environment, tmp_path / "store", monkeypatch) as server:
            told = server.wait_for("agent")
            answer = server.read(text_page(*LINES))

    assert told["state"] == "Refuses"
    assert "401" in told["message"]
    assert texts(answer) == LINES


def test_without_an_agent_nothing_is_said_of_one(server: RunningServer) -> None:
    with server.client() as client:
        told = client.get("/engines").json()

    assert {"agent", "resolutions"} & set(told) == set()
    assert "hpi_agent_" not in metrics_of(server)
    assert server.count("agent") == 0


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({"HPI_AGENT": "10.0.0.7:8470"}, "must be http://ADDRESS:PORT"),
        ({"HPI_AGENT": "http://10.0.0.7:8470"}, "HPI_AGENT_TOKEN is not"),
        ({"HPI_AGENT": "http://10.0.0.7:8470", "HPI_AGENT_TOKEN": "/token"}, "HPI_REVISION is not"),
    ],
    ids=["no address", "no token", "no revision"],
)
def test_half_of_an_agent_is_refused_before_anything_is_loaded(more: dict[str, str], says: str, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "hpi_agent", "serve", "-f", "configs/pipelines/ocr.yaml", "--store", str(tmp_path)]

    done = subprocess.run(command, env={**os.environ, **more}, capture_output=True, text=True, timeout=60, check=False)

    assert done.returncode == 2
    assert says in done.stderr


@pytest.mark.slow
def test_a_pod_builds_beside_its_server_and_the_next_pod_has_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    only = {"inference": {"hpiConfig": {"backend": "onnxruntime", "autoConfig": False}}}
    builds = {**only, "build": {"policy": "OnDemand", "timeoutSeconds": 300}}
    with an_agent(tmp_path / "node") as agent:
        with a_pod(agent.environment(), tmp_path / "one", monkeypatch, **builds) as first:
            models = len(first.engines())
            eventually(lambda: len(agent.builds.decisions) >= models, 280.0)
            qualities = {one.quality for one in agent.builds.decisions}
        with a_pod(agent.environment(pod="ocr-2"), tmp_path / "two", monkeypatch, **only) as second:
            found = states(second)

    words = [report.engine_active for _, report in agent.reports.taken]
    assert words[0] == "Building"
    assert agent.builds.held == {}
    # What was measured while others kept the cores busy is nobody else's.
    assert found == ({"Measured"} if qualities == {"Measured"} else {"Unmeasured"})
