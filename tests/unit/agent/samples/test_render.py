from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from hpi_agent.engines.base import TensorSpec, check_feeds
from hpi_agent.samples import drawing
from hpi_agent.samples.gather import ModelInputs, SampleSet, gather
from hpi_agent.samples.lines import batches, render_lines
from hpi_agent.samples.pages import render_pages
from hpi_agent.samples.pictures import render_figures
from hpi_core.errors import Refused
from support.model_inputs import NORMALISE, a_classifier, a_detector, a_recogniser, hpi, spec

PIPELINE = {"limit_side_len": 736, "limit_type": "min"}
MAX_DETECTOR_PIXELS = 4 * 2**20
"""A detector takes a tenth of a second and more for a million pixels: the mix must stay affordable."""


def shapes(samples: SampleSet) -> list[tuple[int, ...]]:
    return [array.shape for sample in samples.samples for array in sample.feeds.values()]


def test_a_detector_gets_four_pages_of_different_shapes_with_twenty_texts_and_more() -> None:
    got = shapes(gather(a_detector(settings=PIPELINE)))

    assert got == [(1, 3, 736, 1472), (1, 3, 1184, 832), (1, 3, 736, 1312), (1, 3, 1120, 736)]
    assert sum(height * width for _, _, height, width in got) <= MAX_DETECTOR_PIXELS
    assert sum(page.texts for page in render_pages(1)) >= 20


@pytest.mark.parametrize(
    ("settings", "largest"),
    [({"limit_side_len": 64, "limit_type": "min"}, 1280), ({"limit_side_len": 960, "limit_type": "max"}, 960)],
    ids=["PaddleX's OCR pipeline", "PaddleX's module"],
)
def test_pages_are_resized_as_the_pipeline_resizes_them(settings: dict[str, Any], largest: int) -> None:
    got = shapes(gather(a_detector(settings=settings)))

    assert max(max(shape[2:]) for shape in got) == largest
    assert len(set(got)) == 4


def test_pages_keep_within_the_sides_that_are_declared() -> None:
    within = {"x": [[1, 3, 320, 320], [1, 3, 640, 640], [1, 3, 970, 960]]}

    got = shapes(gather(a_detector(settings={"limit_side_len": 64, "limit_type": "min"}, Hpi=hpi(within))))

    assert all(320 <= side <= 960 and side % 32 == 0 for shape in got for side in shape[2:])


def test_a_recogniser_gets_lines_in_batches_padded_to_the_widest() -> None:
    got = shapes(gather(a_recogniser()))

    assert len(set(got)) >= 6
    assert len({shape[0] for shape in got}) >= 3
    assert 20 <= sum(shape[0] for shape in got) <= 40
    assert all(1 <= batch <= 6 and height == 48 and 320 <= width <= 1500 for batch, _, height, width in got)


def test_batches_are_never_larger_than_the_model_or_the_pipeline_allows() -> None:
    assert {shape[0] for shape in shapes(gather(a_recogniser(1, 3, 48, None)))} == {1}
    assert max(shape[0] for shape in shapes(gather(a_recogniser(settings={"batch_size": 64})))) == 8


def test_a_classifier_gets_pictures_one_by_one_and_in_a_batch() -> None:
    got = shapes(gather(a_classifier()))

    assert set(got) == {(1, 3, 224, 224), (8, 3, 224, 224)}
    assert sum(shape[0] for shape in got) >= 20


FIXED = {
    "a detector of one size": a_detector(1, 3, 640, 480),
    "a detector of two pages": a_detector(2, 3, None, None),
    "a recogniser of one width": a_recogniser(4, 3, 48, 320),
    "a classifier of one picture": a_classifier(1, 3, 224, 224),
    "a classifier of five pictures": a_classifier(5, 3, 224, 224),
}


@pytest.mark.parametrize("model", FIXED.values(), ids=FIXED)
def test_a_model_of_fixed_shapes_gets_those(model: ModelInputs) -> None:
    got = gather(model)

    assert all(check_feeds(model.specs, sample.feeds) for sample in got.samples)
    assert sum(shape[0] for shape in shapes(got)) >= 4


CONTRADICTIONS = {
    "another height of a line": (
        a_recogniser(None, 3, 32, None),
        r"\(6, 3, 48, 320\); the input 'x'.*\(\?, 3, 32, \?\)",
    ),
    "another size of a picture": (a_classifier(None, 3, 192, 192), r"\(1, 3, 224, 224\); the input 'x'.*192"),
    "another size of a page": (
        a_detector(1, 3, 640, 480, settings={"input_shape": [3, 640, 640]}),
        r"\(1, 3, 640, 640\); the input 'x'.*480",
    ),
    "grey pictures": (a_classifier(None, 1, 224, 224), r"takes one float32 tensor .* declares \['x float32 \(\?, 1"),
}


@pytest.mark.parametrize(("model", "words"), CONTRADICTIONS.values(), ids=CONTRADICTIONS)
def test_an_inference_yml_that_contradicts_the_file_is_refused_with_both_sides(model: ModelInputs, words: str) -> None:
    with pytest.raises(Refused, match=words):
        gather(model)


@pytest.mark.parametrize(
    "specs", [(spec("x", None, 3, None, None), spec("y", 1)), (TensorSpec("x", "uint8", (1, 3, 8, 8)),), ()]
)
def test_a_task_of_one_tensor_refuses_a_file_with_others(specs: Any) -> None:
    model = a_detector()

    with pytest.raises(Refused, match="is that of a text_detection model, which takes one float32 tensor"):
        gather(ModelInputs(model.name, specs, model.inference, model.directory))


@pytest.mark.parametrize("model", [a_detector(), a_recogniser(), a_classifier()], ids=lambda model: model.name)
def test_rendering_is_the_same_for_the_same_seed_and_another_for_another(model: ModelInputs) -> None:
    first, again, other = (gather(model, seed=seed) for seed in (3, 3, 4))

    pairs = zip(first.samples, again.samples, strict=True)
    assert all(np.array_equal(one.feeds["x"], two.feeds["x"]) and one.label == two.label for one, two in pairs)
    assert first.digest == again.digest != other.digest
    assert not all(
        np.array_equal(one.feeds["x"], two.feeds["x"]) for one, two in zip(first.samples, other.samples, strict=False)
    )


@pytest.mark.parametrize("seed", range(10))
def test_no_seed_makes_the_mix_poor_or_dear(seed: int) -> None:
    pages, lines = gather(a_detector(settings=PIPELINE), seed=seed), gather(a_recogniser(), seed=seed)

    assert sum(math.prod(shape[2:]) for shape in shapes(pages)) <= MAX_DETECTOR_PIXELS
    assert sum(page.texts for page in render_pages(seed)) >= 20
    assert len(set(shapes(lines))) >= 6
    assert sum(shape[0] * shape[3] for shape in shapes(lines)) <= 30_000


def test_the_lines_of_a_page_are_fed_from_narrow_to_wide() -> None:
    page = render_lines(1)[1]

    first, second = batches(page, 6)

    ratios = [line.picture.shape[1] / line.picture.shape[0] for line in (*first, *second)]
    assert ratios == sorted(ratios)
    assert (len(first), len(second)) == (6, 3)


def test_pictures_for_classifiers_show_text_in_four_turns_and_figures_without() -> None:
    figures = render_figures(1, (96, 64))

    assert len(figures) >= 20
    assert {figure.picture.shape for figure in figures} == {(64, 96, 3)}
    assert {figure.name for figure in figures} >= {f"text turned by {turn}" for turn in (0, 90, 180, 270)}
    assert all(figure.picture.std() > 0 for figure in figures)


def test_a_classifier_of_lines_gets_pictures_of_their_form() -> None:
    operators = [{"ResizeImage": {"size": [160, 80]}}, {"NormalizeImage": NORMALISE}, {"ToCHWImage": None}]
    model = a_classifier(None, 3, 80, 160, PreProcess={"transform_ops": operators})

    assert {shape[2:] for shape in shapes(gather(model))} == {(80, 160)}


@pytest.fixture
def no_font(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Leave the wheel of the font uninstalled."""
    monkeypatch.setattr(drawing, "FONT_PACKAGE", "no_such_font")
    drawing.font_identity.cache_clear()
    drawing.load_font.cache_clear()
    yield
    drawing.font_identity.cache_clear()
    drawing.load_font.cache_clear()


def test_without_the_font_pillows_own_is_used_and_said(no_font: None) -> None:
    with_built_in = gather(a_recogniser())

    assert "font-source-sans-pro is not installed" in with_built_in.note
    assert len(set(shapes(with_built_in))) >= 6


def test_the_font_is_a_part_of_the_digest(no_font: None) -> None:
    without = gather(a_recogniser()).digest
    drawing.FONT_PACKAGE = "font_source_sans_pro"  # type: ignore[misc]
    drawing.font_identity.cache_clear()
    drawing.load_font.cache_clear()

    assert gather(a_recogniser()).digest != without
