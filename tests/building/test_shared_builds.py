"""Pods of one node build each resolution once: real builds of a tiny model, the real server of an agent on loopback."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hpi_agent.building.pipeline import BuildSettings, build_on_site
from hpi_agent.building.progress import Say
from hpi_agent.building.reported import asked_of
from hpi_agent.building.site import Site
from hpi_agent.exchange.address import AgentAddress
from hpi_agent.exchange.reports import Granted, resolution_name
from hpi_agent.store.directory import Store
from support.building import (
    LOUD,
    SHORT,
    Built,
    Saboteur,
    a_site,
    build,
    engines_of,
    manifest_of,
    model_directory,
    only,
    resolution_of,
    wait_until,
)
from support.played_agent import PlayedAgent, an_agent, an_identity, environment_of


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return model_directory(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(scope="module")
def manifest(folder: Path) -> str:
    return manifest_of(folder, inference=only("onnxruntime"))


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[PlayedAgent]:
    with an_agent(tmp_path / "node") as running:
        yield running


def address(agent: PlayedAgent, pod: str = "ocr-1", namespace: str = "team-a") -> AgentAddress:
    found = AgentAddress.read(agent.environment(namespace, pod))
    assert found is not None
    return found


def build_saying(manifest: str, site: Site, say: Say, **settings: Any) -> Built:
    """Build as `build` does, and have each event told as it happens."""
    events: list[dict[str, Any]] = []

    def both(event: dict[str, Any]) -> None:
        events.append(event)
        say(event)

    chosen = BuildSettings(**{"store": site.store.root, "samples": None, "pace": SHORT, **settings})
    [decision] = build_on_site(manifest, "test.yaml", site, chosen, both)
    return Built(decision, events)


def told(built: Built) -> list[tuple[str, str]]:
    return [(event["step"], event["detail"]) for event in built.events if event.get("step") in ("agent", "held")]


def test_what_one_pod_built_the_next_one_takes_without_starting_a_process(
    agent: PlayedAgent, manifest: str, tmp_path: Path
) -> None:
    first = build(manifest, a_site(tmp_path / "one"), agent=address(agent))

    second = build(manifest, a_site(tmp_path / "two"), agent=address(agent, "ocr-2"))

    assert (first.is_hit, second.is_hit) == (False, True)
    assert second.decision.to_json() == first.decision.to_json()
    assert second.started == []
    assert engines_of(Store(tmp_path / "two")) == engines_of(Store(tmp_path / "one"))


def test_whoever_builds_has_the_right_meanwhile_and_says_what_was_decided(
    agent: PlayedAgent, manifest: str, tmp_path: Path
) -> None:
    site = a_site(tmp_path / "one")

    built = build(manifest, site, agent=address(agent))

    [report] = agent.builds.decisions
    [asked] = agent.builds.asked
    chosen = built.decision.chosen
    assert chosen is not None
    assert asked == asked_of(resolution_of(manifest, site))
    assert (report.chosen, report.quality) == (chosen.candidate.name, "Measured")
    assert report.artifact is not None
    assert report.artifact.key == chosen.engine_key
    assert agent.builds.held == {}


def test_another_namespace_builds_for_itself(agent: PlayedAgent, manifest: str, tmp_path: Path) -> None:
    build(manifest, a_site(tmp_path / "one"), agent=address(agent))

    theirs = build(manifest, a_site(tmp_path / "two"), agent=address(agent, namespace="team-b"))

    assert not theirs.is_hit
    assert theirs.started == ["onnxruntime"]


def test_of_two_pods_that_build_at_once_the_second_follows_the_first(
    agent: PlayedAgent, manifest: str, tmp_path: Path
) -> None:
    first_builds, second_waits = threading.Event(), threading.Event()
    built: dict[str, Built] = {}

    def first_says(event: dict[str, Any]) -> None:
        if event.get("step") == "build":
            first_builds.set()
            assert second_waits.wait(60)

    def second_says(event: dict[str, Any]) -> None:
        if event.get("step") == "held":
            second_waits.set()

    def run(pod: str, say: Say) -> None:
        built[pod] = build_saying(manifest, a_site(tmp_path / pod), say, agent=address(agent, pod))

    threads = [threading.Thread(target=run, args=("ocr-1", first_says))]
    threads[0].start()
    assert first_builds.wait(60)
    threads.append(threading.Thread(target=run, args=("ocr-2", second_says)))
    threads[1].start()
    for thread in threads:
        thread.join(120)

    assert (built["ocr-1"].is_hit, built["ocr-2"].is_hit) == (False, True)
    assert built["ocr-2"].decision.to_json() == built["ocr-1"].decision.to_json()
    assert len(agent.builds.decisions) >= 1


def test_a_builder_that_gives_up_leaves_the_right_to_the_next_and_says_why(
    agent: PlayedAgent, manifest: str, tmp_path: Path
) -> None:
    resolution = resolution_of(manifest, a_site(tmp_path / "one"))
    saboteur = Saboteur(resolution.references[-1].name, "reference", signal.SIGKILL)

    with pytest.raises(Exception, match="cannot be judged"):
        build(manifest, a_site(tmp_path / "one"), saboteur, agent=address(agent))
    second = build(manifest, a_site(tmp_path / "two"), agent=address(agent, "ocr-2"))

    [failure] = agent.builds.failures
    assert "SIGKILL" in failure.message
    assert not second.is_hit


def test_a_provisional_choice_is_told_and_not_shared(agent: PlayedAgent, manifest: str, tmp_path: Path) -> None:
    build(manifest, a_site(tmp_path / "one"), agent=address(agent), pace=LOUD)

    [report] = agent.builds.decisions
    assert report.quality == "Provisional"
    assert agent.exchange.store.entries() == []


def test_without_its_agent_a_pod_builds_for_itself_and_says_so(manifest: str, tmp_path: Path) -> None:
    away = AgentAddress.read(environment_of("http://127.0.0.1:1", tmp_path, "token"))

    built = build(manifest, a_site(tmp_path / "one"), agent=away)

    assert not built.is_hit
    assert [step for step, _ in told(built)] == ["agent", "agent"]
    assert "does not answer" in told(built)[0][1]
    assert told(built)[0][1].endswith("this pod builds for itself")


def test_a_token_that_nobody_knows_stops_no_build(agent: PlayedAgent, manifest: str, tmp_path: Path) -> None:
    unknown = AgentAddress.read(environment_of(agent.url, tmp_path, "nobody's"))

    built = build(manifest, a_site(tmp_path / "one"), agent=unknown)

    assert not built.is_hit
    assert "401" in told(built)[0][1]


def test_whoever_follows_too_long_builds_for_itself(agent: PlayedAgent, folder: Path, tmp_path: Path) -> None:
    manifest = manifest_of(folder, inference=only("onnxruntime"), build={"timeoutSeconds": 1})
    key = resolution_of(manifest, a_site(tmp_path / "one")).key
    agent.builds.elsewhere["team-a", resolution_name(key)] = "node-2"

    built = build(manifest, a_site(tmp_path / "one"), agent=address(agent))

    assert not built.is_hit
    assert told(built)[0] == ("held", "a pod of node node-2")
    assert "this pod builds for itself" in told(built)[-1][1]


def test_the_right_is_renewed_while_a_build_goes_on(agent: PlayedAgent, manifest: str, tmp_path: Path) -> None:
    agent.builds.seconds = 1

    def slowly(event: dict[str, Any]) -> None:
        if event.get("step") == "build":
            wait_until(lambda: agent.builds.renewals >= 2)

    build_saying(manifest, a_site(tmp_path / "one"), slowly, agent=address(agent))

    assert agent.builds.renewals >= 2
    assert len(agent.builds.decisions) == 1


def test_who_lost_the_right_meanwhile_takes_what_was_complete_first(
    agent: PlayedAgent, manifest: str, tmp_path: Path
) -> None:
    first: list[Built] = []

    def overtaken(event: dict[str, Any]) -> None:
        if event.get("step") == "build" and not first:
            agent.builds.lose()
            first.append(build(manifest, a_site(tmp_path / "two"), agent=address(agent, "ocr-2")))

    second = build_saying(manifest, a_site(tmp_path / "one"), overtaken, agent=address(agent))

    assert agent.client().decision(second.decision.key) == first[0].decision.to_json()
    assert len(agent.builds.decisions) == 1


def test_what_was_decided_while_the_agent_was_away_is_told_by_the_next_build(
    agent: PlayedAgent, manifest: str, tmp_path: Path
) -> None:
    site = a_site(tmp_path / "one")
    away = AgentAddress.read(environment_of("http://127.0.0.1:1", tmp_path, "token"))
    built = build(manifest, site, agent=away)

    again = build(manifest, site, agent=address(agent))

    assert again.is_hit
    assert agent.client().decision(built.decision.key) == built.decision.to_json()
    assert len(agent.builds.decisions) == 1


def test_a_build_without_an_agent_asks_nobody(agent: PlayedAgent, manifest: str, tmp_path: Path) -> None:
    build(manifest, a_site(tmp_path / "one"))

    assert agent.identify.asked == 0
    assert os.environ.get("HPI_AGENT") is None


def test_the_right_of_one_pod_is_of_no_use_to_another(agent: PlayedAgent, manifest: str, tmp_path: Path) -> None:
    asked = asked_of(resolution_of(manifest, a_site(tmp_path / "one")))
    granted = agent.client(pod="ocr-1").acquire(asked)
    assert isinstance(granted, Granted)

    with pytest.raises(Exception, match="was lost"):
        agent.client(pod="ocr-2").renew(asked.key, granted.token)

    assert agent.builds.held["team-a", resolution_name(asked.key)][0] == an_identity("team-a", "ocr-1")
