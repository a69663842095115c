"""What `explain` says of a model: what serves and why, and where the nearest entry of the store differs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from hpi_agent.building.site import Site
from models.graphs import loose
from support.building import Built, a_site, build, explained, manifest_of, model_directory


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return model_directory(tmp_path_factory.mktemp("explained") / "tiny")


@pytest.fixture(scope="module")
def site(folder: Path) -> Site:
    return a_site(folder.parent / "store")


@pytest.fixture(scope="module", autouse=True)
def built(folder: Path, site: Site) -> Built:
    return build(manifest_of(folder), site)


def differences(model: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Return the fields in which the nearest decision differs, with what is here and what is there."""
    nearest = model["decision"]["nearest"]
    return {one["field"]: (one["here"], one["there"]) for one in nearest["differences"]}


def test_a_hit_shows_the_key_the_engine_the_times_the_memory_and_the_difference(
    built: Built, folder: Path, site: Site
) -> None:
    model = explained(manifest_of(folder), site)

    assert model["decision"]["hit"] is True
    assert model["decision"]["key"] == built.decision.key
    assert built.decision.chosen is not None
    assert model["serves"] == built.decision.chosen.candidate.name
    assert model["engine"] == {"key": built.decision.chosen.engine_key, "hit": True}
    [chosen] = [candidate for candidate in model["candidates"] if candidate["verdict"] == "Chosen"]
    assert chosen["timing"]["p50Microseconds"] > 0
    assert chosen["timing"]["p99Microseconds"] >= chosen["timing"]["p50Microseconds"] / 2
    assert chosen["timing"]["memoryBytes"] > 2**20
    assert 0 <= chosen["largestDifference"] <= 1e-4


def test_every_candidate_that_does_not_serve_is_shown_with_its_reason(folder: Path, site: Site) -> None:
    model = explained(manifest_of(folder), site)

    assert len(model["candidates"]) == 4
    assert all(candidate["reason"] for candidate in model["candidates"])
    assert model["gate"]["samples"] == "noise"


def test_with_an_empty_store_there_is_no_entry_to_compare_with(folder: Path, tmp_path: Path) -> None:
    model = explained(manifest_of(folder), a_site(tmp_path / "store"))

    assert model["state"] == "Unmeasured"
    assert model["decision"]["hit"] is False
    assert model["decision"]["nearest"] is None
    assert [candidate["verdict"] for candidate in model["candidates"]] == ["Untried", "Untried", "Excluded", "Excluded"]


def test_a_miss_by_another_number_of_threads_names_exactly_that(folder: Path, site: Site) -> None:
    hardware = replace(site.hardware, threads=97)

    model = explained(manifest_of(folder), replace(site, hardware=hardware))

    assert model["decision"]["hit"] is False
    assert differences(model) == {"hardware.threads": (97, site.hardware.threads)}


def test_a_miss_by_another_version_of_a_runtime_names_exactly_that(folder: Path, site: Site) -> None:
    runtimes = {**site.runtimes, "openvino": "9.9"}

    model = explained(manifest_of(folder), replace(site, runtimes=runtimes))

    assert differences(model) == {"runtimes.openvino": ("9.9", site.runtimes["openvino"])}


def test_a_miss_by_another_instruction_set_names_exactly_that(folder: Path, site: Site) -> None:
    hardware = replace(site.hardware, isa_flags=("avx2",))

    model = explained(manifest_of(folder), replace(site, hardware=hardware))

    assert differences(model) == {"hardware.isaFlags": (["avx2"], list(site.hardware.isa_flags))}


def test_a_miss_by_what_the_manifest_asks_names_exactly_that(folder: Path, site: Site) -> None:
    model = explained(manifest_of(folder, build={"accuracy": {"level": "Numeric"}}), site)

    assert differences(model) == {"accuracy.level": ("Numeric", "Auto")}


def test_a_miss_by_other_weights_of_the_same_name_names_the_digest(site: Site, tmp_path: Path) -> None:
    other = model_directory(tmp_path / "other", loose())

    model = explained(manifest_of(other), site)

    assert "model.digest" in differences(model)


def test_an_engine_that_is_gone_is_a_miss_of_the_engine_and_a_hit_of_the_decision(tmp_path: Path) -> None:
    site, manifest = a_site(tmp_path / "store"), manifest_of(model_directory(tmp_path / "tiny"))
    decision = build(manifest, site).decision
    assert decision.chosen is not None
    assert decision.chosen.engine_key is not None
    (tmp_path / "store" / "engines" / decision.chosen.engine_key.removeprefix("sha256:")).rename(tmp_path / "away")

    model = explained(manifest, site)

    assert model["decision"]["hit"] is True
    assert model["engine"]["hit"] is False
    # The engine of the other candidate is there still.
    [differing] = [one for one in model["engine"]["nearest"]["differences"] if one["field"] == "backend.name"]
    assert differing["here"] == decision.chosen.candidate.backend


def test_explaining_builds_and_writes_nothing(folder: Path, tmp_path: Path) -> None:
    explained(manifest_of(folder), a_site(tmp_path / "store"))

    assert list(tmp_path.iterdir()) == []
