"""Models in Paddle's format are converted, judged against Paddle itself and served; what contradicts is told."""

from __future__ import annotations

import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from hpi_agent.building.choice import choice_of, find_decision
from hpi_agent.building.site import Site
from hpi_agent.engines.shelf import Shelf
from hpi_agent.select.wish import Wish
from hpi_core.errors import EngineFailed, HpiError
from models.paddle_models import CASES, paddle_model
from support.building import Built, a_site, build, engines_of, explained, manifest_of, only, resolution_of
from support.conversions import converter_environment
from support.key_mutations import MUTATIONS, Case

pytestmark = pytest.mark.slow

TINY = CASES["tiny"].model_name


def a_paddle_site(store: Path) -> Site:
    """Return what this machine brings with the environment that has Paddle."""
    site, paddle = a_site(store), converter_environment()
    return replace(site, environment=paddle, runtimes={**site.runtimes, "paddle": paddle.versions["paddlepaddle"]})


def manifest(folder: Path, **spec: Any) -> str:
    """Return the manifest of a model as it lies in a folder."""
    name = yaml.safe_load((folder / "inference.yml").read_text(encoding="utf-8"))["Global"]["model_name"]
    return manifest_of(folder, name, **spec)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    return a_paddle_site(tmp_path_factory.mktemp("paddle") / "store")


@pytest.fixture(scope="module")
def tiny(site: Site) -> Built:
    return build(manifest(paddle_model("tiny")), site)


def test_a_classifier_in_paddles_format_is_converted_and_every_backend_is_judged_against_paddle(tiny: Built) -> None:
    gate = tiny.decision.gate

    tried = {outcome.candidate.name for outcome in tiny.decision.outcomes if outcome.verdict != "Excluded"}

    assert gate is not None
    assert gate.reference == "paddle 3.2.2 without oneDNN, float32"
    assert gate.samples == "rendered"
    assert gate.answer_count > 0
    assert tried == {"openvino", "onnxruntime", "paddle mkldnn", "paddle"}
    assert [event["step"] for event in tiny.events if event["event"] == "model"][:1] == ["convert"]


def test_a_model_in_paddles_format_is_served_by_the_engine_that_was_chosen(tiny: Built, site: Site) -> None:
    resolution = resolution_of(manifest(paddle_model("tiny")), site)
    choice = choice_of(resolution, find_decision(resolution), fallback_allowed=True)
    shelf = Shelf(lambda *_: choice)

    served = shelf.put(TINY, resolution.model.directory, Wish())
    answer = served.infer({"x": np.zeros((2, 3, 32, 32), dtype=np.float32)})
    shelf.close()

    assert tiny.decision.chosen is not None
    assert (served.state, served.name) == ("Measured", tiny.decision.chosen.candidate.name)
    assert [array.shape for array in answer.values()] == [(2, 10)]


def test_the_decision_of_a_converted_model_is_found_again(tiny: Built, site: Site) -> None:
    again = build(manifest(paddle_model("tiny")), site)

    assert again.is_hit
    assert again.decision.key == tiny.decision.key


def test_before_it_is_converted_paddle_serves_a_model_in_its_format(site: Site, tmp_path: Path) -> None:
    empty = replace(site, store=a_site(tmp_path / "store").store)

    model = explained(manifest(paddle_model("tiny")), empty)

    assert model["serves"] == "paddle mkldnn"
    assert model["state"] == "Unmeasured"


def with_newer_weights(folder: Path) -> None:
    """Replace the weights by others of the same shapes, as a delivery of a newer training does."""
    weights = folder / "inference.pdiparams"
    data = bytearray(weights.read_bytes())
    values = np.frombuffer(data[-256:], dtype=np.float32) * np.float32(1.05)
    data[-256:] = values.tobytes()
    weights.write_bytes(data)


@pytest.mark.usefixtures("tiny")
def test_a_stale_onnx_file_beside_newer_weights_is_not_trusted_and_the_weights_are_converted_anew(
    site: Site, tmp_path: Path
) -> None:
    before = resolution_of(manifest(paddle_model("tiny")), site)
    folder = paddle_model("tiny", tmp_path / "model")
    assert before.files.onnx is not None
    shutil.copyfile(before.files.onnx, folder / "inference.onnx")
    with_newer_weights(folder)

    built = build(manifest(folder, inference=only("onnxruntime")), site)

    told = [(event["step"], event["detail"]) for event in built.events if event["event"] == "model"]
    after = resolution_of(manifest(folder, inference=only("onnxruntime")), site)
    assert [step for step, _ in told][:3] == ["compare", "compare", "convert"]
    assert "deliver the two together" in told[1][1]
    assert after.files.onnx not in (None, before.files.onnx, folder / "inference.onnx")
    assert built.outcome("onnxruntime").verdict == "Chosen"


@pytest.mark.usefixtures("tiny")
def test_an_onnx_file_of_the_same_weights_is_used_as_it_is(site: Site, tmp_path: Path) -> None:
    before = resolution_of(manifest(paddle_model("tiny")), site)
    folder = paddle_model("tiny", tmp_path / "model")
    assert before.files.onnx is not None
    shutil.copyfile(before.files.onnx, folder / "inference.onnx")

    built = build(manifest(folder, inference=only("onnxruntime")), site)

    steps = [event["step"] for event in built.events if event["event"] == "model"]
    after = resolution_of(manifest(folder, inference=only("onnxruntime")), site)
    assert steps[0] == "compare"
    assert "convert" not in steps
    assert after.files.onnx == folder / "inference.onnx"
    assert built.outcome("onnxruntime").verdict == "Chosen"


def contradicting(folder: Path, **shapes: Any) -> Path:
    """Write other shapes into the `inference.yml` of a model."""
    path = folder / "inference.yml"
    document = yaml.safe_load(path.read_text(encoding="utf-8"))
    document["Hpi"] = {"backend_configs": {"paddle_infer": {"trt_dynamic_shapes": shapes}}}
    path.write_text(yaml.safe_dump(document), encoding="utf-8")
    return folder


@pytest.mark.parametrize(
    ("shapes", "sides"),
    [
        ({"pixels": [[1, 3, 32, 32]] * 3}, ["pixels", "'x'"]),
        ({"x": [[1, 4, 32, 32]] * 3}, [r"\(1, 4, 32, 32\)|'x': \(1, 4", r"3"]),
    ],
    ids=["another input", "another count of colours"],
)
def test_an_inference_yml_that_contradicts_paddles_program_is_refused_with_both_sides(
    shapes: dict[str, Any], sides: list[str], site: Site, tmp_path: Path
) -> None:
    folder = contradicting(paddle_model("tiny", tmp_path / "model"), **shapes)

    with pytest.raises(HpiError) as refusal:
        build(manifest(folder), replace(site, store=a_site(tmp_path / "store").store))

    print(type(refusal.value).__name__, refusal.value)
    assert all(re.search(side, str(refusal.value)) for side in sides)


def test_where_paddle_cannot_load_its_own_program_the_reference_falls_back_visibly(site: Site) -> None:
    built = build(manifest(paddle_model("db_detector_v4"), inference=only("onnxruntime")), site)

    gate = built.decision.gate
    assert gate is not None
    assert gate.reference.startswith("onnxruntime")
    assert "paddle cannot be the reference: " in gate.reference
    assert built.outcome("onnxruntime").verdict == "Chosen"


def test_a_model_in_paddles_format_without_the_environment_says_what_to_install(tmp_path: Path) -> None:
    with pytest.raises(EngineFailed, match="hpi-agent install paddle2onnx"):
        build(manifest(paddle_model("tiny")), a_site(tmp_path / "store"))


@pytest.mark.usefixtures("tiny")
@pytest.mark.parametrize("path", ["engine.conversion.lock", "engine.conversion.versions.onnx"])
def test_another_environment_converts_and_builds_anew(path: str, site: Site) -> None:
    text = manifest(paddle_model("tiny"), inference=only("onnxruntime"))
    before, engines = resolution_of(text, site).files.onnx, set(engines_of(site.store))
    changed = MUTATIONS[path].change(Case(Path(), {}, site))

    built = build(text, changed.site)

    assert not built.is_hit
    assert resolution_of(text, changed.site).files.onnx not in (None, before)
    assert built.outcome("onnxruntime").engine_key not in {f"sha256:{key.removeprefix('sha256:')}" for key in engines}


def test_another_run_mode_of_paddle_is_another_engine(site: Site) -> None:
    plain, one_dnn = (
        build(manifest(paddle_model("tiny"), inference=only("paddle", run_mode=mode)), site)
        for mode in ("paddle", "mkldnn")
    )

    assert not one_dnn.is_hit
    assert plain.outcome("paddle").engine_key != one_dnn.outcome("paddle mkldnn").engine_key
