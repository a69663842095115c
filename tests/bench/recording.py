"""The arrays that the models of the sample pipeline see: `python -m bench.recording STORE THREADS PAGE.png OUT.npz`.

A process of its own opens the pipeline as a worker does, reads one page, and writes every array that a model was given,
in order. PaddleX prepares the same pixels in the same way every time, so a server that reads the page gives its models
these very arrays.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.warm_store import sample_document

Call = tuple[str, dict[str, NDArray[Any]]]
"""A model's name and the arrays it was given."""


def record(store: Path, threads: int, page: bytes) -> list[Call]:
    """Return the calls of the models while one page is read."""
    from hpi_agent.engines.shelf import Shelved
    from hpi_agent.pipelines.ocr import Timings
    from hpi_agent.serve.served import Start, open_pipeline

    served = open_pipeline(Start(json.dumps(sample_document()), "the benchmark's manifest", store, threads))
    calls: list[Call] = []
    original = Shelved.infer

    def infer(self: Shelved, feeds: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        calls.append((self.model_name, {name: np.array(array) for name, array in feeds.items()}))
        return original(self, feeds)

    Shelved.infer = infer  # type: ignore[method-assign]
    served.ocr().answer(memoryview(page), "IMAGE", {}, False, Timings())
    return calls


def save_calls(file: Path, calls: list[Call]) -> None:
    """Write calls where `read_calls` finds them."""
    arrays = {
        f"{index}/{model}/{name}": array for index, (model, feeds) in enumerate(calls) for name, array in feeds.items()
    }
    np.savez(file, **arrays)  # type: ignore[arg-type]


def read_calls(file: Path) -> list[Call]:
    """Return what `save_calls` wrote."""
    calls: dict[int, Call] = {}
    with np.load(file, allow_pickle=False) as arrays:
        for key in arrays.files:
            index, model, name = key.split("/", 2)
            calls.setdefault(int(index), (model, {}))[1][name] = arrays[key]
    return [calls[index] for index in sorted(calls)]


if __name__ == "__main__":
    store, threads, page, out = sys.argv[1:]
    save_calls(Path(out), record(Path(store), int(threads), Path(page).read_bytes()))
    os._exit(0)
