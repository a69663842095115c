"""A verdict about an ONNX file that lies beside a model in Paddle's format: is it the same model?

PaddleX takes any `inference.onnx` that it finds. Where the weights were replaced later, the old model goes on serving.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from hpi_agent.convert.conversion import (
    KIND,
    MAX_REPORT_BYTES,
    SCRATCH,
    check_unchanged,
    largest_difference,
    parse_document,
    read_json,
    versions_of,
)
from hpi_agent.convert.difference import TOLERANCE
from hpi_agent.convert.shapes import SEED, Shapes
from hpi_agent.convert.steps import Check, Limits, Say, Steps
from hpi_agent.models.paddle_files import PaddleModel
from hpi_agent.plugins.environment import PluginEnvironment
from hpi_agent.store.directory import Store, digest_of_file
from hpi_core.digest import digest_of_json
from hpi_core.errors import Refused, Retry, SourceFailed

FORMAT: Final = 1
COMPARISON_FILE: Final = "comparison.json"


@dataclass(frozen=True)
class Comparison:
    """What was found when an ONNX file was compared with the model beside it."""

    trusted: bool
    """Whether the ONNX file answers as Paddle does on every set of shapes."""
    reason: str
    """Why it is trusted or not, with the figures; for people."""
    largest_difference: float | None
    """Largest max |a - b| / max |reference| of all outputs and shapes; None: at least one could not be compared."""
    checks: tuple[Check, ...]
    key: str


def compare(
    model: PaddleModel,
    onnx: Path,
    store: Store,
    environment: PluginEnvironment,
    *,
    shapes: Sequence[Shapes],
    limits: Limits = Limits(),  # noqa: B008 - frozen
    say: Say = lambda _: None,
) -> Comparison:
    """Return whether an ONNX file is the same model; the verdict is remembered under the digests of both.

    Args:
        model: The model in Paddle's format; its directory is never written.
        onnx: The ONNX file found beside it.
        store: Where the verdict is kept.
        environment: The locked environment.
        shapes: Input shapes of the comparison, at least one.
        limits: What the child may use.
        say: Is told of every step as it begins.

    Raises:
        EngineFailed: Paddle cannot run the model.
        ChildFailed: The child crashed, took too long or too much memory.
        Refused: No shapes are given, or they do not fit the inputs.
        Retry: A file changed while it was read.
        SourceFailed: A file cannot be read.
        Stop: The environment lacks a package, or the store cannot be written.
    """
    if not shapes:
        raise Refused("an ONNX file is compared on at least one set of input shapes; give the shapes that are served")
    digest = _digest(onnx)
    document = comparison_document(model, digest, environment, shapes)
    key = digest_of_json(document)

    def write(directory: Path) -> None:
        checks, unusable = _compare(model, onnx, environment, directory, shapes, limits, say)
        if _digest(onnx) != digest:
            raise Retry(f"{onnx} changed while it was compared; start again")
        result = {"key": document, "unusable": unusable, "checks": [check.to_json() for check in checks]}
        (directory / COMPARISON_FILE).write_text(json.dumps(result, indent=1), encoding="utf-8")

    directory = store.publish(KIND, key, write, about={"model": model.directory.name, "engine": "comparison"})
    return _read(onnx, read_json(directory / COMPARISON_FILE), key)


def find_comparison(
    model: PaddleModel, onnx: Path, store: Store, environment: PluginEnvironment, *, shapes: Sequence[Shapes]
) -> Comparison | None:
    """Return the verdict that the store remembers, or None; nothing is compared.

    Args:
        model: The model in Paddle's format.
        onnx: The ONNX file found beside it.
        store: Where the verdict is kept.
        environment: The locked environment.
        shapes: Input shapes of the comparison.

    Raises:
        SourceFailed: The ONNX file cannot be read.
        Stop: The environment lacks a package of the converter.
    """
    key = digest_of_json(comparison_document(model, _digest(onnx), environment, shapes))
    entry = store.open(KIND, key)
    if entry is None:
        return None
    with entry:
        path = entry.directory / COMPARISON_FILE
        return _read(onnx, parse_document(path, entry.read(COMPARISON_FILE, MAX_REPORT_BYTES)), key)


def comparison_document(
    model: PaddleModel, onnx_digest: str, environment: PluginEnvironment, shapes: Sequence[Shapes]
) -> dict[str, Any]:
    """Return everything that shapes a verdict; its digest is the key."""
    return {
        "format": FORMAT,
        "comparison": {"paddle": model.digest, "onnx": onnx_digest},
        "versions": versions_of(environment),
        "lock": environment.lock_digest,
        "shapes": [{name: list(shape) for name, shape in one.items()} for one in shapes],
        "tolerance": TOLERANCE,
        "seed": SEED,
    }


def _read(onnx: Path, written: Mapping[str, Any], key: str) -> Comparison:
    checks = tuple(Check.from_json(check) for check in written["checks"])
    return judge(onnx, checks, written["unusable"], key)


def judge(onnx: Path, checks: tuple[Check, ...], unusable: str | None, key: str) -> Comparison:
    """Return the verdict that checks lead to."""
    largest = largest_difference(checks)
    if unusable is not None:
        return Comparison(False, f"{onnx} cannot be compared with the model beside it: {unusable}", None, checks, key)
    wrong = [check for check in checks if check.exceeds(TOLERANCE)]
    if not wrong:
        reason = (
            f"{onnx} answers as the model in Paddle's format beside it: largest difference {largest:.2g} on "
            f"{len(checks)} sets of shapes, at most {TOLERANCE:g} is allowed"
        )
        return Comparison(True, reason, largest, checks, key)
    reason = (
        f"{onnx} is another model than the one in Paddle's format beside it: it differs by more than {TOLERANCE:g} of "
        f"the largest value {'; '.join(map(str, wrong))}. It is not used; delete it, or deliver the two together"
    )
    return Comparison(False, reason, largest, checks, key)


def _compare(
    model: PaddleModel,
    onnx: Path,
    environment: PluginEnvironment,
    directory: Path,
    shapes: Sequence[Shapes],
    limits: Limits,
    say: Say,
) -> tuple[list[Check], str | None]:
    scratch = directory / SCRATCH
    scratch.mkdir()
    try:
        with Steps(model, environment, scratch, limits, say) as steps:
            steps.prepare()
            checks, unusable = steps.compare(onnx.absolute(), shapes)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    check_unchanged(model)
    return checks, unusable


def _digest(onnx: Path) -> str:
    try:
        return digest_of_file(onnx)
    except OSError as error:
        raise SourceFailed(f"{onnx} cannot be read: {error.strerror}") from error
