"""One build publishes engines and one decision; nobody builds twice, and a builder that dies blocks nobody."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from hpi_agent.building.choice import find_decision
from hpi_agent.processes.process_tree import read_stat
from hpi_agent.store.directory import Store
from support.building import (
    Built,
    a_site,
    build,
    building,
    children_of,
    engines_of,
    manifest_of,
    model_directory,
    only,
    resolution_of,
    wait_until,
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return model_directory(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return Store(tmp_path_factory.mktemp("building") / "store")


@pytest.fixture(scope="module")
def first(folder: Path, store: Store) -> Built:
    return build(manifest_of(folder), a_site(store.root))


def test_a_build_publishes_an_engine_for_every_candidate_and_one_decision(first: Built, store: Store) -> None:
    tried = {outcome.engine_key: outcome.candidate.name for outcome in first.decision.outcomes if outcome.engine_key}

    published = engines_of(store)

    assert sorted(published.values()) == ["onnxruntime", "openvino"]
    assert {f"sha256:{key.removeprefix('sha256:')}": name for key, name in published.items()} == tried
    assert store.decisions() == [first.decision.to_json()]


def test_what_was_decided_is_what_was_written(first: Built, folder: Path, store: Store) -> None:
    resolution = resolution_of(manifest_of(folder), a_site(store.root))

    found = find_decision(resolution)

    assert found is not None
    assert found.to_json() == first.decision.to_json()
    assert found.key == resolution.key


def test_one_candidate_is_chosen_and_every_other_says_why_it_is_not(first: Built) -> None:
    outcomes = {outcome.candidate.name: outcome for outcome in first.decision.outcomes}

    verdicts = sorted(outcome.verdict for outcome in outcomes.values())

    assert verdicts == ["Chosen", "Excluded", "Excluded", "Slower"]
    assert outcomes["paddle"].reason == "the model has no files in Paddle's format"
    assert all(outcome.reason for outcome in outcomes.values())
    assert all(outcomes[name].timing is not None for name in ("openvino", "onnxruntime"))


def test_the_events_tell_every_step_of_every_candidate_in_its_order(first: Built) -> None:
    steps = [event for event in first.events if event["event"] == "candidate"]

    told = {name: [event["step"] for event in steps if event["candidate"] == name] for name in first.started}

    events = [event["event"] for event in first.events]
    assert (events[0], *events[-2:]) == ("started", "decided", "finished")
    assert list(told) == ["openvino", "onnxruntime"]
    for steps_of_one in told.values():
        assert steps_of_one == ["build", "load", "judge", "passed", "time", "time"]


def test_a_second_build_is_a_hit_that_starts_no_process(first: Built, folder: Path, store: Store) -> None:
    with building(manifest_of(folder), store.root) as again:
        events = again.finish()

    assert [event["event"] for event in events] == ["started", "decided", "finished"]
    assert events[1]["hit"] is True
    assert events[1]["decisionKey"] == first.decision.key


def test_a_decision_that_was_made_is_made_again_when_asked_for(tmp_path: Path) -> None:
    site, manifest = (
        a_site(tmp_path / "store"),
        manifest_of(model_directory(tmp_path / "m"), inference=only("openvino")),
    )
    before = build(manifest, site)

    after = build(manifest, site, again=True)

    assert not after.is_hit
    assert after.decision.key == before.decision.key
    # The engine is sound and only measured: building it again would give the same bytes.
    assert "build" not in [event.get("step") for event in after.events]


def test_of_two_processes_that_build_one_key_the_second_waits_and_takes_the_firsts_decision(tmp_path: Path) -> None:
    manifest = manifest_of(model_directory(tmp_path / "tiny"), inference=only("onnxruntime"))
    with building(manifest, tmp_path / "store") as one:
        one.wait_for(event="candidate", step="build")
        # It stands still in the middle of its work until the other one has come to wait for it.
        os.kill(one.process.pid, signal.SIGSTOP)
        with building(manifest, tmp_path / "store") as two:
            first_seen = two.wait_for(event="model")
            os.kill(one.process.pid, signal.SIGCONT)

            made, taken = one.finish(), two.finish()

    assert first_seen["step"] == "waiting"
    assert [event["hit"] for event in (*made, *taken) if event["event"] == "decided"] == [False, True]
    assert not [event for event in taken if event["event"] in ("candidate", "process")]
    assert len(Store(tmp_path / "store").decisions()) == 1


@pytest.mark.parametrize("step", ["build", "judge", "time"])
def test_a_builder_that_is_killed_leaves_no_lock_and_no_half_engine_and_the_next_build_succeeds(
    step: str, tmp_path: Path
) -> None:
    manifest, root = manifest_of(model_directory(tmp_path / "tiny"), inference=only("onnxruntime")), tmp_path / "store"
    with building(manifest, root) as process:
        process.wait_for(event="candidate", step=step)
        trials = children_of(process.process.pid)
        process.process.kill()
        process.process.wait()

        wait_until(lambda: not any(_lives(pid) for pid in trials))
    published = engines_of(Store(root))
    after = build(manifest, a_site(root))

    assert list(published.values()) == ([] if step == "build" else ["onnxruntime"])
    assert all(entry.damage is None for entry in Store(root).entries())
    assert not after.is_hit
    assert after.outcome("onnxruntime").verdict == "Chosen"
    # What the dead one had begun is cleared up by whoever publishes next.
    assert list((root / "tmp").iterdir()) == []


def _lives(pid: int) -> bool:
    stat = read_stat(pid)
    return stat is not None and stat.lives
