"""One side of the comparison in a process of its own: `python -m bench.sides SIDE STORE THREADS`.

The parent sends one JSON line per page (`{"page": "FILE.npy"}`) and gets one back; a page is read twice and the second
`predict` is timed. All sides load the same files with the same pipeline settings from `configs/pipelines/ocr.yaml`, so
the limits of the detector, which decide the work, are the same.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final

import numpy as np
from numpy.typing import NDArray

from bench.warm_store import sample_document
from support.text_error import Quad, TextLine

SIDES: Final[Mapping[str, str]] = {
    "paddlex": "PaddleX's engine onnxruntime",
    "onnxruntime": "our engine, onnxruntime",
    "openvino": "our engine, openvino",
    "default": "our engine, chosen by measurement",
}
"""What can be compared, and how tables call it."""


@dataclass(frozen=True)
class OpenedPipeline:
    """A pipeline that reads pages."""

    read: Callable[[NDArray[np.uint8]], list[TextLine]]
    """Takes a BGR image of shape (height, width, 3)."""
    model_seconds: Callable[[], dict[str, float]]
    """Seconds spent inside each model since the pipeline was opened, by model name."""
    engines: dict[str, str]
    """What serves each model, by model name."""


def open_pipeline(side: str, store: Path, threads: int) -> OpenedPipeline:
    """Open one of `SIDES`.

    Args:
        side: Its name.
        store: Where model directories are assembled and compiled engines are kept.
        threads: Whole cores for our engines. PaddleX's own side keeps its default.
    """
    if side == "paddlex":
        return open_paddlex_own(sample_document(), store)
    return open_ours(manifest_of(side), store, threads)


def manifest_of(side: str) -> dict[str, Any]:
    """Return the sample pipeline of one of our sides.

    `default` takes what was measured and chosen before; the others have one backend for every model and no fall-back,
    loaded from the model files, whether or not the store has engines for them.
    """
    if side == "default":
        return sample_document()
    manifest = sample_document("Never")
    manifest["spec"]["inference"] = {"hpiConfig": {"autoConfig": False, "backend": side}}
    return manifest


def detector_settings() -> str:
    """Return what decides how much the detector has to do, for tables."""
    module = sample_document()["spec"]["config"]["inline"]["SubModules"]["TextDetection"]
    return ", ".join(f"{name} {module[name]}" for name in ("limit_side_len", "limit_type", "max_side_limit"))


def open_ours(manifest: dict[str, Any], store: Path, threads: int) -> OpenedPipeline:
    """Open a pipeline the way `hpi-agent serve` does."""
    from hpi_agent.serve.served import Start
    from hpi_agent.serve.served import open_pipeline as open_served

    served = open_served(Start(json.dumps(manifest), "the benchmark's manifest", store, threads))
    pipeline = served.ocr().pipeline
    engines = {
        item.model_name: f"{item.name}, {item.engine.obtained.threads} threads, {item.state}" for item in served.shelf
    }
    return OpenedPipeline(lambda image: read_lines(pipeline, image), served.shelf.busy_seconds, engines)


def open_paddlex_own(manifest: dict[str, Any], store: Path) -> OpenedPipeline:
    """Open PaddleX's pipeline on PaddleX's engine; ours only makes the model directories and answers for opencv."""
    from hpi_agent.building.model_directories import assemble_models
    from hpi_agent.pipelines import paddlex as ours
    from hpi_agent.pipelines.effective import effective
    from hpi_agent.serve.served import config_with
    from hpi_agent.store.directory import Store
    from hpi_core.api.manifest import read_pipeline

    plan = effective(read_pipeline(json.dumps(manifest), "the benchmark's manifest"), lambda _: None)
    models = assemble_models(plan, Store(store))
    ours.prepare_import(store / "paddlex")
    import paddlex
    from paddlex.inference.models.runners.onnxruntime_runner import ONNXRuntimeRunner

    names = {model.directory: model.name for model in models}
    seconds = count_seconds(ONNXRuntimeRunner, lambda runner: names[runner.model_dir])
    pipeline = paddlex.create_pipeline(config=config_with(plan, models), device="cpu", engine="onnxruntime")
    engines = dict.fromkeys(names.values(), "onnxruntime, threads by its default")
    return OpenedPipeline(lambda image: read_lines(pipeline, image), lambda: dict(seconds), engines)


def count_seconds(runner_class: Any, name_of: Callable[[Any], str]) -> dict[str, float]:
    """Make every call of a runner add its duration to the dictionary that is returned, by model name."""
    seconds: dict[str, float] = {}
    original = runner_class.__call__

    def counted(self: Any, *arguments: Any, **keywords: Any) -> Any:
        started = time.perf_counter()
        result = original(self, *arguments, **keywords)
        name = name_of(self)
        seconds[name] = seconds.get(name, 0.0) + time.perf_counter() - started
        return result

    runner_class.__call__ = counted
    return seconds


def read_lines(pipeline: Any, image: NDArray[np.uint8]) -> list[TextLine]:
    """Return the lines that PaddleX's OCR pipeline finds on one page."""
    [result] = pipeline.predict(image)
    return [TextLine(text, as_quad(quad)) for text, quad in zip(result["rec_texts"], result["rec_polys"], strict=True)]


def as_quad(points: Any) -> Quad:
    """Return four corners as floats."""
    a, b, c, d = ((float(x), float(y)) for x, y in points)
    return a, b, c, d


def answer(opened: OpenedPipeline, image: NDArray[np.uint8]) -> dict[str, Any]:
    """Read one page twice and return the times and the lines of the second reading as JSON.

    A side that has waited for the others has slow clocks and cold caches, 20 % on two cores; a client that sends one
    page after the other never sees them, so the first reading does not count.
    """
    opened.read(image)
    before = opened.model_seconds()
    started = time.perf_counter()
    lines = opened.read(image)
    seconds = time.perf_counter() - started
    models = {name: total - before.get(name, 0.0) for name, total in opened.model_seconds().items()}
    return {"seconds": seconds, "models": models, "lines": [[line.text, line.quad] for line in lines]}


def main(arguments: list[str], requests: IO[str], replies: IO[str]) -> None:
    """Open one side, say so, and answer until the parent closes the pipe."""
    side, store, threads = arguments
    started = time.perf_counter()
    opened = open_pipeline(side, Path(store), int(threads))
    opening = {"engines": opened.engines, "openSeconds": time.perf_counter() - started}
    print(json.dumps(opening), file=replies, flush=True)
    for line in requests:
        image = np.load(json.loads(line)["page"], allow_pickle=False)
        print(json.dumps(answer(opened, image)), file=replies, flush=True)


if __name__ == "__main__":
    # Libraries print to standard output; the replies keep a descriptor of their own and the rest goes to stderr.
    own_output = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    main(sys.argv[1:], sys.stdin, own_output)
    # Thread pools of runtimes can hang in their destructors; every reply is flushed.
    os._exit(0)
