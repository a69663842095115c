"""The real PP-OCR models read what is rendered for them: the gate has texts and boxes to compare."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from hpi_agent.configuration import configs_directory
from hpi_agent.engines.base import Engine, EngineRequest
from hpi_agent.engines.onnxruntime import read_metadata
from hpi_agent.engines.registry import load_engine
from hpi_agent.models.assemble import PLAIN_LOADER, assemble
from hpi_agent.samples.gather import SEED, ModelInputs, SampleSet, gather
from hpi_agent.samples.lines import batches, render_lines
from hpi_agent.samples.pages import render_pages
from hpi_agent.samples.read_preparation import read_preparation
from hpi_agent.select.answers import count_answers, read_boxes, read_texts, settings_of
from hpi_agent.store.directory import Store
from models.real import DETECTOR, RECOGNISER

Prepared = tuple[ModelInputs, Engine]
PIPELINE = {"limit_side_len": 736, "limit_type": "min", "batch_size": 6}
"""Settings of the OCR pipeline under `configs/pipelines`."""


@pytest.fixture(scope="module")
def prepare(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str, str], Prepared]]:
    """Return a function that loads a model of the rapidocr wheel with what samples need to know of it."""
    store = Store(tmp_path_factory.mktemp("store"))
    engines: list[Engine] = []

    def load(name: str, weights: str) -> Prepared:
        source = f"package://rapidocr/models/{weights}.onnx"
        models = configs_directory() / "models"
        model = assemble(name, source, None, store=store, models=models, read_metadata=read_metadata)
        assert model.onnx is not None
        engine = load_engine(EngineRequest(Path(model.onnx), "onnxruntime", threads=2))
        engines.append(engine)
        text = (model.directory / "inference.yml").read_text(encoding="utf-8")
        inference: dict[str, Any] = yaml.load(text, Loader=PLAIN_LOADER)  # noqa: S506 - a safe loader
        return ModelInputs(name, engine.inputs, inference, model.directory, PIPELINE), engine

    yield load
    for engine in engines:
        engine.close()


def answers(prepared: Prepared) -> tuple[SampleSet, list[Any]]:
    model, engine = prepared
    samples = gather(model)
    return samples, [engine.infer(sample.feeds) for sample in samples.samples]


def test_the_recogniser_reads_the_rendered_lines(prepare: Callable[[str, str], Prepared]) -> None:
    model, engine = prepare("PP-OCRv6_small_rec", RECOGNISER)
    characters = ["", *model.inference["PostProcess"]["character_dict"], " "]
    wanted = [line.text for page in render_lines(SEED) for batch in batches(page, 6) for line in batch]

    _, outputs = answers((model, engine))

    read = ["".join(characters[index] for index in text) for output in outputs for text in read_texts(*output.values())]
    wrong = [pair for pair in zip(wanted, read, strict=True) if pair[0] != pair[1]]
    print(f"{len(wanted) - len(wrong)} of {len(wanted)} lines are right; wrong: {wrong}")
    assert len(wanted) >= 20
    assert len(wrong) <= 0.05 * len(wanted)


def test_the_detector_finds_the_rendered_texts(prepare: Callable[[str, str], Prepared]) -> None:
    model, engine = prepare("PP-OCRv6_small_det", DETECTOR)
    settings = settings_of(model.inference)
    drawn = [page.texts for page in render_pages(SEED)]

    samples, outputs = answers((model, engine))

    found = [count_answers("text_detection", output, settings) for output in outputs]
    print(f"{found} boxes on pages with {drawn} texts")
    assert samples.origin == "rendered"
    assert sum(found) >= 20
    # A gap between two words may split one box, a narrow one join two.
    assert all(abs(boxes - texts) <= 0.15 * texts for boxes, texts in zip(found, drawn, strict=True))


def test_the_detector_finds_them_where_they_were_drawn(prepare: Callable[[str, str], Prepared]) -> None:
    model, engine = prepare("PP-OCRv6_small_det", DETECTOR)
    picture = render_pages(SEED)[3].picture
    preparation: Any = read_preparation(model.name, "text_detection", model.inference, PIPELINE)

    [output] = engine.infer({"x": preparation.tensor(picture)}).values()

    scale = output.shape[3] / picture.shape[1]
    boxes = read_boxes(output[0, 0], settings_of(model.inference))
    names = [box for box in boxes if box.right / scale < 200 and 140 <= box.top / scale <= 480]
    prices = [box for box in boxes if box.left / scale > 250 and 140 <= box.top / scale <= 480]
    assert (len(names), len(prices)) == (8, 8)
