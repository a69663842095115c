from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from hpi_agent.samples.gather import SEED, ModelInputs, gather, sample_identity
from hpi_core.errors import Refused
from support.model_inputs import NORMALISE, a_classifier, a_detector, a_recogniser, an_unknown_model, hpi, spec

X = spec("x", None, 3, 8, 8)
MODELS = [a_detector(), a_recogniser(), a_classifier(), an_unknown_model(X)]


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Return a folder with one sample for each model that takes pictures."""
    for model in MODELS[:3]:
        (tmp_path / model.name).mkdir()
        Image.new("RGB", (300, 260), "white").save(tmp_path / model.name / "one.png")
    return tmp_path


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.name)
def test_the_identity_names_what_gathering_gives(model: ModelInputs) -> None:
    gathered = gather(model)

    assert sample_identity(model) == {"origin": gathered.origin, "digest": gathered.digest}


@pytest.mark.parametrize("model", MODELS[:3], ids=lambda model: model.name)
def test_the_identity_names_what_lies_in_the_users_folder(model: ModelInputs, pictures: Path) -> None:
    gathered = gather(model, folder=pictures)

    assert gathered.origin == "folder"
    assert sample_identity(model, pictures) == {"origin": "folder", "digest": gathered.digest}


def test_the_identity_needs_no_model_file() -> None:
    for model in MODELS:
        assert sample_identity(replace(model, specs=())) == sample_identity(model)


def test_the_users_samples_come_before_rendered_ones_and_those_before_noise(pictures: Path) -> None:
    by_model = [gather(model, folder=pictures if model is MODELS[0] else None) for model in MODELS]

    assert [samples.origin for samples in by_model] == ["folder", "rendered", "rendered", "noise"]
    assert [samples.family for samples in by_model] == ["text_detection", "text_recognition", "classification", None]


def test_a_model_without_a_folder_of_its_own_gets_rendered_samples_and_says_so(pictures: Path) -> None:
    (pictures / "detector" / "one.png").unlink()
    (pictures / "detector").rmdir()

    samples = gather(MODELS[0], folder=pictures)

    assert samples.origin == "rendered"
    assert samples.note == f"{pictures} has no folder 'detector'"


def test_an_unknown_preparation_means_noise_and_is_named() -> None:
    operators = [{"ResizeImage": {"size": 224}}, {"Pad": {"size": 300}}, {"NormalizeImage": NORMALISE}]

    samples = gather(a_classifier(PreProcess={"transform_ops": operators}))

    assert samples.origin == "noise"
    assert "transform_ops has 'Pad'" in samples.note


UNKNOWN: dict[str, Any] = {
    "no operators at all": None,
    "no normalisation": [{"DetResizeForTest": None}],
    "grey pictures": [{"DecodeImage": {"img_mode": "GRAY"}}, {"DetResizeForTest": None}, {"NormalizeImage": NORMALISE}],
    "channels before rows": [{"DetResizeForTest": None}, {"NormalizeImage": {**NORMALISE, "order": "chw"}}],
    "kept ratio": [{"DetResizeForTest": {"image_shape": [9, 9], "keep_ratio": True}}, {"NormalizeImage": NORMALISE}],
}


@pytest.mark.parametrize("operators", UNKNOWN.values(), ids=UNKNOWN)
def test_whatever_nobody_knows_to_prepare_is_noise_with_a_reason(operators: Any) -> None:
    samples = gather(a_detector(PreProcess={"transform_ops": operators}, Hpi=hpi({"x": [[1, 3, 32, 32]] * 3})))

    assert (samples.origin, bool(samples.note)) == ("noise", True)


MALFORMED: dict[str, Any] = {
    "no list": {"DetResizeForTest": None},
    "no mapping": ["DetResizeForTest"],
    "two names in one": [{"DetResizeForTest": None, "NormalizeImage": None}],
    "arguments that are none": [{"DetResizeForTest": 3}],
    "a side that is text": [{"DetResizeForTest": {"resize_long": "960"}}, {"NormalizeImage": NORMALISE}],
    "a side beyond bounds": [{"DetResizeForTest": {"resize_long": 2**14 + 1}}, {"NormalizeImage": NORMALISE}],
    "a scale that is a program": [{"DetResizeForTest": None}, {"NormalizeImage": {"scale": "exit()"}}],
}


@pytest.mark.parametrize("operators", MALFORMED.values(), ids=MALFORMED)
def test_a_malformed_preparation_is_refused(operators: Any) -> None:
    with pytest.raises(Refused, match="must be"):
        gather(a_detector(PreProcess={"transform_ops": operators}))


@pytest.mark.parametrize(
    "settings", [{"limit_type": "avg"}, {"limit_side_len": -1}, {"input_shape": [3, 640]}, {"max_side_limit": 1.5}]
)
def test_settings_that_cannot_be_used_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(Refused, match="must be"):
        gather(a_detector(settings=settings))


CHANGES: dict[str, tuple[ModelInputs, int]] = {
    "another seed": (a_detector(), 5),
    "another setting": (a_detector(settings={"limit_side_len": 960}), SEED),
    "another mean": (
        a_detector(
            PreProcess={
                "transform_ops": [{"DetResizeForTest": None}, {"NormalizeImage": {**NORMALISE, "mean": [0, 0, 0]}}]
            }
        ),
        SEED,
    ),
    "other shapes": (a_detector(Hpi=hpi({"x": [[1, 3, 64, 64]] * 3})), SEED),
    "another family": (a_recogniser(), SEED),
    "noise": (an_unknown_model(X), SEED),
}


def test_whatever_changes_the_samples_changes_the_digest() -> None:
    digests = [sample_identity(model, seed=seed)["digest"] for model, seed in CHANGES.values()]

    assert len({sample_identity(a_detector())["digest"], *digests}) == 1 + len(CHANGES)


def test_what_does_not_change_the_samples_does_not_change_the_digest() -> None:
    post = {"name": "DBPostProcess", "thresh": 0.9}
    settings = {"thresh": 0.1, "model_dir": "/elsewhere"}

    other = replace(a_detector(PostProcess=post, settings=settings), name="another", directory=Path("elsewhere"))

    assert sample_identity(other) == sample_identity(a_detector())


def test_noise_takes_the_declared_values_of_its_inputs() -> None:
    shapes = {"image": [[1, 3, 32, 32]] * 3, "scale_factor": [[1, 2]] * 3}
    data = {"scale_factor": [[2, 2], [1, 1], [0.5, 0.5]]}
    model = an_unknown_model(spec("image", None, 3, 32, 32), spec("scale_factor", None, 2), Hpi=hpi(shapes, data))

    samples = gather(model).samples

    assert all(np.array_equal(sample.feeds["scale_factor"], [[1, 1]]) for sample in samples)


def test_a_contradiction_is_refused_whatever_the_samples_are(pictures: Path) -> None:
    wrong = {"Hpi": hpi({"image": [[1, 3, 32, 32]] * 3})}

    for model, folder in (
        (a_detector(**wrong), None),
        (a_detector(**wrong), pictures),
        (an_unknown_model(X, **wrong), None),
    ):
        with pytest.raises(Refused, match="declares the input 'image'"):
            gather(model, folder=folder)
