"""What serves follows from the decision of the store; what cannot be honoured falls back visibly and is built again."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hpi_agent.building.builder import is_chosen_again
from hpi_agent.building.choice import EngineChooser, choice_of, find_decision
from hpi_agent.building.model_directories import assemble_models
from hpi_agent.building.pipeline import read_plan
from hpi_agent.building.site import Site
from hpi_agent.engines.shelf import Choice, Shelf, Shelved
from hpi_agent.exchange.address import AgentAddress
from hpi_agent.select.decision import Decision
from hpi_agent.select.wish import Wish, read_wish
from models.graphs import beyond_32_bits
from support.building import (
    LOUD,
    NAME,
    TWO_ROUNDS,
    a_site,
    build,
    busy_cores,
    manifest_of,
    model_directory,
    only,
    resolution_of,
)
from support.played_agent import an_agent


@dataclass(frozen=True)
class Place:
    """A model that was built, and the site with its store."""

    folder: Path
    site: Site

    def manifest(self, **spec: Any) -> str:
        return manifest_of(self.folder, **spec)

    @property
    def decision(self) -> Decision | None:
        return find_decision(resolution_of(self.manifest(), self.site))

    @property
    def chosen_engine(self) -> Path:
        """The directory of the engine that was chosen."""
        assert self.decision is not None
        assert self.decision.chosen is not None
        assert self.decision.chosen.engine_key is not None
        return self.site.store.root / "engines" / self.decision.chosen.engine_key.removeprefix("sha256:")

    def choice(self, *, fallback_allowed: bool = True) -> Choice:
        return choice_of(resolution_of(self.manifest(), self.site), self.decision, fallback_allowed=fallback_allowed)

    def served(self) -> Shelved:
        """Load the model as a worker does."""
        shelf = Shelf(lambda *_: self.choice())
        shelved = shelf.put(NAME, self.folder, Wish())
        shelf.close()
        return shelved


def a_built(folder: Path, **settings: Any) -> Place:
    place = Place(model_directory(folder / "model"), a_site(folder / "store"))
    build(place.manifest(), place.site, **settings)
    return place


@pytest.fixture(scope="module")
def once(tmp_path_factory: pytest.TempPathFactory) -> Place:
    return a_built(tmp_path_factory.mktemp("built"))


@pytest.fixture
def built(once: Place, tmp_path: Path) -> Place:
    """Return a copy of a built place, to be damaged."""
    store = shutil.copytree(once.site.store.root, tmp_path / "store")
    return Place(once.folder, a_site(store))


def test_before_anything_is_decided_the_order_of_the_knowledge_table_serves(once: Place, tmp_path: Path) -> None:
    place = Place(once.folder, a_site(tmp_path / "empty"))

    choice = place.choice()

    assert choice.state == "Unmeasured"
    assert [attempt.name for attempt in choice.attempts] == ["openvino", "onnxruntime"]
    assert [attempt.engine_key for attempt in choice.attempts] == [None, None]


def test_the_engine_that_was_decided_for_comes_first_and_is_taken_from_the_store(once: Place) -> None:
    assert once.decision is not None
    assert once.decision.chosen is not None

    served = once.served()

    assert served.state == "Measured"
    assert served.name == once.decision.chosen.candidate.name
    assert served.engine_key == once.decision.chosen.engine_key
    assert served.decision_key == once.decision.key
    assert served.engine.obtained.from_store


def test_an_engine_that_is_gone_from_the_store_falls_back_visibly(built: Place) -> None:
    shutil.rmtree(built.chosen_engine)

    served = built.served()

    [tried] = [rejected for rejected in served.rejected if "is not in the store any more" in rejected.reason]
    assert served.state == "Fallback"
    assert served.engine_key is None
    assert tried.tried
    assert "it is built again" in tried.reason


def test_an_engine_that_is_gone_from_the_store_is_built_again_by_the_next_build(built: Place) -> None:
    gone = built.chosen_engine
    shutil.rmtree(gone)

    again = build(built.manifest(), built.site)

    assert not again.is_hit
    assert gone.is_dir()
    assert built.served().state == "Measured"


def test_a_flipped_bit_in_an_engine_is_found_quarantined_and_shown_and_the_next_build_repairs_it(
    built: Place,
) -> None:
    file = built.chosen_engine / "engine.bin"
    flip_a_bit(file)

    fallen = built.served()
    again = build(built.manifest(), built.site)

    assert fallen.state == "Fallback"
    assert list((built.site.store.root / "quarantine").iterdir())
    assert not again.is_hit
    assert built.served().state == "Measured"


def test_a_flipped_bit_in_an_engine_makes_a_build_no_hit(built: Place) -> None:
    flip_a_bit(built.chosen_engine / "engine.bin")

    again = build(built.manifest(), built.site)

    assert not again.is_hit
    assert built.served().state == "Measured"


def flip_a_bit(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    mode = file.stat().st_mode
    file.chmod(0o644)
    file.write_bytes(content)
    file.chmod(mode)


def test_a_candidate_that_the_gate_refused_never_serves_although_it_loads(tmp_path: Path) -> None:
    place = Place(model_directory(tmp_path / "model", beyond_32_bits()), a_site(tmp_path / "store"))
    before = [attempt.name for attempt in place.choice().attempts]
    build(place.manifest(), place.site)
    shutil.rmtree(place.chosen_engine)

    after = place.choice()

    assert before == ["openvino", "onnxruntime"]
    assert [attempt.name for attempt in after.attempts] == ["onnxruntime"]
    assert [one.backend for one in after.rejected if one.tried] == ["openvino"]


def test_where_falling_back_is_forbidden_nothing_stands_behind_the_chosen_engine(once: Place) -> None:
    forbidden = once.choice(fallback_allowed=False)

    assert len(once.choice().attempts) == 2
    assert [attempt.engine_key for attempt in forbidden.attempts] == [once.choice().attempts[0].engine_key]


def test_a_choice_that_was_measured_under_load_serves_as_provisional(tmp_path: Path) -> None:
    place = a_built(tmp_path, pace=LOUD)

    served = place.served()

    assert place.decision is not None
    assert place.decision.provisional is not None
    assert "measured again: what wins twice in a row stays" in place.decision.provisional
    assert (served.state, served.engine_key is None) == ("Provisional", False)


@pytest.mark.slow
def test_other_processes_that_keep_the_cores_busy_make_a_choice_provisional(tmp_path: Path) -> None:
    with busy_cores():
        place = a_built(tmp_path, pace=TWO_ROUNDS)

    assert place.decision is not None
    assert place.decision.provisional is not None
    assert "at most 10% count as quiet" in place.decision.provisional


def test_a_provisional_choice_is_measured_again_by_the_next_build_with_the_engines_it_has(tmp_path: Path) -> None:
    place = a_built(tmp_path, pace=LOUD)

    again = build(place.manifest(), place.site)

    assert not again.is_hit
    assert "build" not in [event.get("step") for event in again.events]
    assert place.served().state == "Measured"


def test_a_choice_that_busy_cores_give_twice_in_a_row_stays_and_says_so(tmp_path: Path) -> None:
    place = Place(model_directory(tmp_path / "model"), a_site(tmp_path / "store"))
    alone = place.manifest(inference=only("onnxruntime"))

    first = build(alone, place.site, pace=LOUD)
    again = build(alone, place.site, pace=LOUD)

    assert first.decision.provisional is not None
    assert again.decision.is_shareable
    assert again.decision.chosen is not None
    assert again.decision.chosen.reason.endswith("; chosen twice in a row on busy cores")


def test_what_another_pod_chose_on_busy_cores_is_confirmed_by_the_first_choice_of_the_same_here(tmp_path: Path) -> None:
    alone = manifest_of(model_directory(tmp_path / "model"), inference=only("onnxruntime"))
    before = build(alone, a_site(tmp_path / "another"), pace=LOUD).decision
    assert before.chosen is not None

    with an_agent(tmp_path / "node") as agent:
        agent.builds.chosen_before = before.chosen.engine_key
        address = AgentAddress.read(agent.environment("team-a", "ocr-1"))
        built = build(alone, a_site(tmp_path / "store"), pace=LOUD, agent=address)

    assert (before.is_shareable, built.decision.is_shareable) == (False, True)


@pytest.mark.parametrize(("provisional", "again"), [("others worked", True), (None, False)])
def test_busy_cores_confirm_an_earlier_choice_that_was_provisional_alone(
    provisional: str | None, again: bool, once: Place
) -> None:
    assert once.decision is not None
    earlier = replace(once.decision, provisional=provisional)

    assert is_chosen_again(once.decision.outcomes, earlier.provisional_key) == again


def test_busy_cores_confirm_a_choice_of_the_same_engine_alone(once: Place) -> None:
    assert once.decision is not None
    assert once.decision.chosen is not None
    key = once.decision.chosen.engine_key
    others = {one.engine_key for one in once.decision.outcomes} - {key}

    assert is_chosen_again(once.decision.outcomes, None, key)
    assert not is_chosen_again(once.decision.outcomes, None, *others, "sha256:" + "0" * 64)


def test_a_server_keeps_its_engine_when_every_candidate_that_was_built_fails(tmp_path: Path) -> None:
    folder, site = model_directory(tmp_path / "model", beyond_32_bits()), a_site(tmp_path / "store")
    text = manifest_of(folder, inference=only("openvino"))
    manifest, plan = read_plan(text, "test.yaml")
    chooser = EngineChooser(site, manifest.spec.build, plan, assemble_models(plan, site.store), looks_in_store=True)
    wish = read_wish("test", plan.models[0].settings)
    shelf = Shelf(chooser.choose)
    serving = shelf.put(NAME, folder, wish)

    built = build(text, site)
    renewed = shelf.renew(NAME, lambda new: pytest.fail(f"{new.name} took over"))

    assert built.decision.chosen is None
    assert renewed is None
    assert shelf.get(NAME) is serving
    assert serving.infer({"x": np.arange(3)})["y"].shape == (3,)
    shelf.close()


@pytest.mark.parametrize(("looks_in_store", "state"), [(True, "Measured"), (False, "Unmeasured")])
def test_the_policy_never_does_not_look_into_the_store(looks_in_store: bool, state: str, once: Place) -> None:
    manifest, plan = read_plan(once.manifest(), "test.yaml")
    models = assemble_models(plan, once.site.store)
    chooser = EngineChooser(once.site, manifest.spec.build, plan, models, looks_in_store=looks_in_store)

    choice = chooser.choose(NAME, once.folder, Wish())

    assert choice.state == state
    assert list(chooser.stamps) == ([NAME] if looks_in_store else [])


def test_a_decision_of_another_release_is_none(built: Place) -> None:
    assert built.decision is not None
    built.site.store.write_decision(built.decision.key, {**built.decision.to_json(), "formatVersion": 0})

    choice = built.choice()

    assert choice.state == "Unmeasured"


def test_a_change_of_the_decision_shows_in_its_stamp(built: Place) -> None:
    assert built.decision is not None
    key, store = built.decision.key, built.site.store
    before = store.decision_stamp(key)

    store.write_decision(key, replace(built.decision, provisional="others worked").to_json())

    assert before is not None
    assert store.decision_stamp(key) != before
