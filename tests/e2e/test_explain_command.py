"""`hpi-agent explain`: what serves, why, what the store has, and which field of a key differs where it has nothing."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from support.building import manifest_of, model_directory, only
from support.servers import built_store, sample_manifest

DETECTOR, RECOGNISER = "PP-OCRv6_small_det", "PP-OCRv6_small_rec"


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return built_store(tmp_path_factory.getbasetemp())


def explain(manifest: dict[str, Any] | str, store: Path, *more: str) -> subprocess.CompletedProcess[str]:
    text = manifest if isinstance(manifest, str) else json.dumps(manifest)
    command = [sys.executable, "-m", "hpi_agent", "explain", "-f", "-", "--store", str(store), *more]
    return subprocess.run(command, input=text, capture_output=True, text=True, timeout=200, check=False)


def models_of(done: subprocess.CompletedProcess[str]) -> dict[str, dict[str, Any]]:
    assert done.returncode == 0, done.stderr
    return {model["name"]: model for model in json.loads(done.stdout)["models"]}


def test_what_was_built_is_a_hit_with_its_figures_and_the_reason_of_every_candidate(built: Path) -> None:
    models = models_of(explain(sample_manifest(), built, "-o", "json"))

    assert list(models) == [DETECTOR, RECOGNISER]
    for model in models.values():
        assert (model["decision"]["hit"], model["engine"]["hit"], model["state"]) == (True, True, "Measured")
        [chosen] = [one for one in model["candidates"] if one["verdict"] == "Chosen"]
        assert chosen["name"] == model["serves"]
        assert chosen["timing"]["p99Microseconds"] >= chosen["timing"]["p50Microseconds"] > 0
        assert chosen["timing"]["memoryBytes"] > 2**20
        assert all(one["reason"] for one in model["candidates"])


def test_for_people_there_is_a_table_a_model_without_escape_codes_or_folded_lines(built: Path) -> None:
    done = explain(sample_manifest(), built)

    lines = done.stdout.splitlines()
    assert done.returncode == 0, done.stderr
    assert "\x1b" not in done.stdout
    assert len([line for line in lines if line.startswith("  CANDIDATE")]) == 2
    assert len([line for line in lines if line.startswith("  decision") and ": hit, measured, made " in line]) == 2
    for name in ("onnxruntime", "openvino", "paddle", "paddle mkldnn"):
        assert len([line for line in lines if line.startswith(f"  {name} ")]) >= 2


def test_a_miss_names_the_one_field_that_differs_from_the_nearest_decision(built: Path) -> None:
    manifest = sample_manifest(build={"policy": "Prebuild", "accuracy": {"tolerancePartsPerMillion": 321}})

    done = explain(manifest, built, "-o", "json")
    text = explain(manifest, built).stdout

    for model in models_of(done).values():
        near = model["decision"]["nearest"]
        assert (model["decision"]["hit"], near["more"]) == (False, 0)
        [difference] = near["differences"]
        assert "tolerance" in difference["field"].lower()
        assert difference["here"] != difference["there"]
        assert f"{difference['field']}: here {json.dumps(difference['here'])}, there " in text


def test_an_engine_that_is_gone_is_a_miss_below_a_decision_that_is_a_hit(built: Path, tmp_path: Path) -> None:
    store = tmp_path / "store"
    shutil.copytree(built, store, symlinks=True)
    shutil.rmtree(store / "engines")

    models = models_of(explain(sample_manifest(), store, "-o", "json"))

    assert {model["decision"]["hit"] for model in models.values()} == {True}
    assert {model["engine"]["hit"] for model in models.values()} == {False}


def test_an_empty_store_is_explained_by_the_knowledge_table_and_nothing_is_decided(tmp_path: Path) -> None:
    models = models_of(explain(sample_manifest(), tmp_path / "store", "-o", "json"))

    for model in models.values():
        assert (model["decision"]["hit"], model["engine"], model["gate"]) == (False, None, None)
        assert (model["state"], model["serves"]) == ("Unmeasured", "openvino")
        assert "knowledge table" in model["reason"]
    assert not (tmp_path / "store" / "decisions").exists()
    assert not (tmp_path / "store" / "engines").exists()


def test_a_model_that_nothing_can_serve_ends_with_1_and_says_why(tmp_path: Path) -> None:
    manifest = manifest_of(model_directory(tmp_path / "model"), inference=only("paddle"))

    done = explain(manifest, tmp_path / "store")

    assert done.returncode == 1, done.stderr
    assert "nothing" in done.stdout
    assert "Paddle's format" in done.stdout


def test_a_manifest_that_is_none_ends_with_2(tmp_path: Path) -> None:
    done = explain("{}", tmp_path / "store")

    assert done.returncode == 2
    assert "apiVersion: is required" in done.stderr
