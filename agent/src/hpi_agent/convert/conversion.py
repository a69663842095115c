"""A model in Paddle's format → `converted/<key>/` in the store: an ONNX file and the report of how it was checked."""

from __future__ import annotations

import json
import logging
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from hpi_agent.convert.difference import TOLERANCE
from hpi_agent.convert.scale_patch import PATCH, PATCH_VERSION
from hpi_agent.convert.shapes import Shapes
from hpi_agent.convert.steps import Check, Limits, Say, Steps
from hpi_agent.models.paddle_files import PaddleModel, digest_of_paddle_files
from hpi_agent.plugins.environment import PluginEnvironment
from hpi_agent.store.directory import Store, digest_of_file
from hpi_core.digest import digest_of_json
from hpi_core.errors import Bug, EngineFailed, Refused, Retry, SourceFailed, Stop

KIND: Final = "converted"
ONNX_FILE: Final = "inference.onnx"
REPORT_FILE: Final = "report.json"
SCRATCH: Final = "scratch"

FORMAT: Final = 1
"""Raised when the same model and environment are converted into something else; a part of the key."""
OPSET: Final = 17
"""The first opset with HardSwish is 14. With the converter's default of 7, OpenVINO is 1.6 to 2.9 times slower on
mobile networks (OpenVINO 2026.4.1, 2-core AMD EPYC, 2026-11-20)."""
NAMES_VERSION: Final = 1
"""Version of the step that gives inputs and outputs Paddle's names."""

PACKAGES: Final = ("paddlepaddle", "paddle2onnx", "onnx", "onnxruntime")
"""Packages whose versions shape a conversion or its check."""

MAX_REPORT_BYTES: Final = 2**20

log: Final = logging.getLogger(__name__)


@dataclass(frozen=True)
class Converted:
    """A published conversion."""

    onnx: Path
    key: str
    report: Mapping[str, Any]
    """Versions, opset, nodes, patches, the names of Paddle and of the converter, checks with their differences, the
    largest of them, seconds and memory."""


def conversion_document(model: PaddleModel, environment: PluginEnvironment) -> dict[str, Any]:
    """Return everything that shapes the ONNX file of a model; its digest is the key.

    Raises:
        Stop: The environment lacks a package of the converter.
    """
    versions = versions_of(environment)
    return {
        "format": FORMAT,
        "model": model.digest,
        "converter": "paddle2onnx",
        "versions": {name: versions[name] for name in ("paddlepaddle", "paddle2onnx", "onnx")},
        "opset": OPSET,
        "patches": {PATCH: PATCH_VERSION, "names": NAMES_VERSION},
        "lock": environment.lock_digest,
    }


def find_converted(model: PaddleModel, store: Store, environment: PluginEnvironment) -> Converted | None:
    """Return the conversion of a model that the store has, or None; nothing is converted.

    One whose ONNX file is damaged counts as none: `convert` puts it aside and makes it anew.

    Raises:
        Stop: The environment lacks a package of the converter.
    """
    key = digest_of_json(conversion_document(model, environment))
    entry = store.open(KIND, key)
    if entry is None:
        return None
    with entry:
        report = parse_document(entry.directory / REPORT_FILE, entry.read(REPORT_FILE, MAX_REPORT_BYTES))
        onnx = entry.directory / ONNX_FILE
        if digest_of_file(onnx) != report["onnxDigest"]:
            log.warning("a converted model is damaged", extra={"file": str(onnx), "wanted": report["onnxDigest"]})
            return None
    return Converted(onnx, key, report)


def versions_of(environment: PluginEnvironment) -> dict[str, str]:
    """Return the versions of the packages that a conversion needs.

    Raises:
        Stop: One is missing.
    """
    missing = [name for name in PACKAGES if name not in environment.versions]
    if missing:
        raise Stop(
            f"the environment of {environment.python} lacks {missing}; make it anew: hpi-agent install paddle2onnx"
        )
    return {name: environment.versions[name] for name in PACKAGES}


def convert(
    model: PaddleModel,
    store: Store,
    environment: PluginEnvironment,
    *,
    shapes: Sequence[Shapes],
    limits: Limits = Limits(),  # noqa: B008 - frozen
    say: Say = lambda _: None,
) -> Converted:
    """Return the ONNX file of a model, converted and checked now unless the store has it.

    Args:
        model: The model; its directory is never written.
        store: Where the result is published; of several that convert one model at once, one does it.
        environment: The locked environment.
        shapes: Input shapes on which the result must equal Paddle without oneDNN, at least one; see
            `hpi_agent.convert.shapes.checked_shapes`.
        limits: What the child may use.
        say: Is told of every step as it begins.

    Raises:
        EngineFailed: The model cannot be converted, or the result differs from Paddle by more than `TOLERANCE`.
        ChildFailed: The child crashed, took too long or too much memory.
        Refused: No shapes are given, or they do not fit the inputs.
        Retry: The model changed while it was converted.
        Stop: The environment lacks a package, or the store cannot be written.
    """
    if not shapes:
        raise Refused("a conversion is checked on at least one set of input shapes; give the shapes that are served")
    document = conversion_document(model, environment)
    key = digest_of_json(document)

    def write(directory: Path) -> None:
        report = _convert(model, environment, directory, shapes, limits, say)
        (directory / REPORT_FILE).write_text(json.dumps({"key": document, **report}, indent=1), encoding="utf-8")

    directory = store.publish(KIND, key, write, about={"model": model.directory.name, "engine": "ONNX, converted"})
    return Converted(directory / ONNX_FILE, key, read_json(directory / REPORT_FILE))


def _convert(
    model: PaddleModel,
    environment: PluginEnvironment,
    directory: Path,
    shapes: Sequence[Shapes],
    limits: Limits,
    say: Say,
) -> dict[str, Any]:
    scratch = directory / SCRATCH
    scratch.mkdir()
    onnx = directory / ONNX_FILE
    started = time.monotonic()
    try:
        with Steps(model, environment, scratch, limits, say) as steps:
            patches = steps.prepare()
            made = steps.convert(onnx, OPSET)
            if made["opset"] < OPSET:
                raise Bug(f"opset {OPSET} was asked for, the converter gave {made['opset']}")
            converted_seconds = time.monotonic() - started
            checks, unusable = steps.compare(onnx, shapes)
            memory = steps.peak_memory_bytes
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    check_unchanged(model)
    refuse_wrong(model, checks, unusable)
    return {
        "versions": versions_of(environment),
        **made,
        "patches": patches,
        "bytes": onnx.stat().st_size,
        "onnxDigest": digest_of_file(onnx),
        "tolerance": TOLERANCE,
        "checks": [check.to_json() for check in checks],
        "largestDifference": largest_difference(checks),
        "convertSeconds": round(converted_seconds, 3),
        "seconds": round(time.monotonic() - started, 3),
        "peakMemoryBytes": memory,
    }


def refuse_wrong(model: PaddleModel, checks: Sequence[Check], unusable: str | None) -> None:
    """Accept a conversion that equals Paddle on every check.

    Raises:
        EngineFailed: It does not; the text has the figures.
    """
    if unusable is not None:
        raise EngineFailed(f"checking: the converted {model.program} cannot be run: {unusable}")
    wrong = [check for check in checks if check.exceeds(TOLERANCE)]
    if wrong:
        raise EngineFailed(
            f"checking: the converted {model.program} differs from Paddle by more than {TOLERANCE:g} of the largest "
            f"value on {len(wrong)} of {len(checks)} sets of shapes; {'; '.join(map(str, wrong))}. It is not used; "
            "choose the backend paddle for this model"
        )


def check_unchanged(model: PaddleModel) -> None:
    """Accept a model whose files are still those that were found.

    Raises:
        Retry: They changed.
        SourceFailed: They cannot be read any more.
    """
    try:
        seen = digest_of_paddle_files(model.program, model.weights)
    except OSError as error:
        raise SourceFailed(f"{model.directory} cannot be read any more: {error.strerror} ({error.filename})") from error
    if seen != model.digest:
        raise Retry(f"{model.directory} changed while it was read: it had {model.digest}, now {seen}; start again")


def largest_difference(checks: Sequence[Check]) -> float | None:
    """Return the largest difference of all outputs on all shapes, or None where one cannot be compared."""
    values = [value for check in checks for value in check.differences.values()]
    numbers = [value for value in values if not isinstance(value, str)]
    return max(numbers) if numbers and len(numbers) == len(values) else None


def read_json(path: Path) -> dict[str, Any]:
    """Return a document of ours from the store.

    Raises:
        Bug: It is not what this package writes; the store has verified its digest before.
    """
    with path.open("rb") as file:
        data = file.read(MAX_REPORT_BYTES + 1)
    return parse_document(path, data)


def parse_document(path: Path, data: bytes) -> dict[str, Any]:
    """Return the document in the bytes of a file of ours.

    Raises:
        Bug: It is not what this package writes.
    """
    try:
        if len(data) > MAX_REPORT_BYTES:
            raise ValueError(f"it has more than {MAX_REPORT_BYTES} bytes")
        document = json.loads(data)
        if not isinstance(document, dict):
            raise ValueError(f"it is {type(document).__name__}")
    except (ValueError, RecursionError) as error:
        raise Bug(f"{path} must be a JSON object: {error}") from error
    return document
