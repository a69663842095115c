"""CUDA and TensorRT where nobody has them: `presented()` puts their doubles in their place."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from doubles.gpus import Machine, reset
from doubles.presenting import Leak, importable

FOLDER: Final = Path(__file__).with_name("nvidia")


@contextmanager
def presented() -> Iterator[Machine]:
    """Have a machine with GPUs, on which nothing is held at the beginning and at the end.

    Raises:
        Leak: Something is held at the end.
    """
    machine = reset()
    with importable(FOLDER, ("tensorrt", "cuda")):
        yield machine
    gc.collect()
    if machine.held:
        raise Leak(f"not given back: {machine.held}")
