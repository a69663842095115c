"""Which files a model consists of, by PaddleX's names, and what a set of them amounts to."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from hpi_agent.models.paddle_files import PROGRAMS, WEIGHTS
from hpi_core.errors import SourceFailed

ONNX: Final = "inference.onnx"
OM: Final = "inference.om"
INFERENCE_YML: Final = "inference.yml"
PADDLE_FILES: Final = (*(name for name, _ in PROGRAMS), WEIGHTS)

MODEL_FILES: Final = (INFERENCE_YML, ONNX, *PADDLE_FILES, OM)
"""Every file that is ever read of a model (paddlex 3.7.2, `model_paths.py`); what else lies beside them is left alone.
No file of them is a program of Python's, so `scaler.pkl` is not among them."""

MAX_MODEL_BYTES: Final = 2**31 - 1
"""Largest ONNX file: protobuf messages end there, and larger models use external data, which is refused."""

MAX_LISTED: Final = 20
"""Most file names listed in a message."""


@dataclass(frozen=True)
class WeightsFile:
    """One ONNX file that needs an `inference.yml` beside it before PaddleX can use it."""

    path: Path


@dataclass(frozen=True)
class ModelDirectory:
    """A directory with `inference.yml` and, beside it, `inference.onnx`, Paddle's files, `inference.om`, or several."""

    path: Path


Located = WeightsFile | ModelDirectory
"""What a source amounts to on this machine."""


def wanted_names(names: Iterable[str]) -> tuple[str, ...]:
    """Return those of a folder's names that are files of a model, in the order of `MODEL_FILES`."""
    there = set(names)
    return tuple(name for name in MODEL_FILES if name in there)


def located(source: str, directory: Path) -> Located:
    """Return what the files of a directory amount to.

    Args:
        source: How to call it in messages; holds no secret.
        directory: Holds an ONNX file alone, or a model directory.

    Raises:
        SourceFailed: It is no model, or a file of it is empty or too large.
        OSError: It cannot be read.
    """
    seen = sorted(entry.name for entry in directory.iterdir())
    if wanted_names(seen) == (ONNX,):
        return WeightsFile(checked_size(source, directory / ONNX))
    return model_directory(source, directory)


def model_directory(source: str, directory: Path) -> ModelDirectory:
    """Return a directory as a model directory; it is used where it lies.

    Raises:
        SourceFailed: It holds no whole model, or a file of it is empty or too large.
        OSError: It cannot be read.
    """
    formats = [name for name in (ONNX, *PADDLE_FILES, OM) if (directory / name).is_file()]
    missing = [] if formats else [ONNX]
    missing += [] if (directory / INFERENCE_YML).is_file() else [INFERENCE_YML]
    if missing:
        seen = sorted(entry.name for entry in directory.iterdir())[:MAX_LISTED]
        raise SourceFailed(
            f"source {source!r}: a model directory must hold inference.yml, and {ONNX}, {OM} or a model in Paddle's "
            f"format ({WEIGHTS} beside {' or '.join(name for name, _ in PROGRAMS)}); missing: {missing}, seen: {seen}"
        )
    if ONNX in formats:
        checked_size(source, directory / ONNX)
    return ModelDirectory(directory)


def checked_size(source: str, file: Path) -> Path:
    """Return an ONNX file.

    Raises:
        SourceFailed: It is empty or too large.
        OSError: It cannot be read.
    """
    size = file.stat().st_size
    if not 0 < size <= MAX_MODEL_BYTES:
        raise SourceFailed(f"source {source!r}: {file.name} has {size} bytes; 1 to {MAX_MODEL_BYTES} are allowed")
    return file
