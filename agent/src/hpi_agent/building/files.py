"""The model files that candidates are made of: the ONNX file as it is, as it was converted, or none to trust."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from hpi_agent.building.progress import ModelProgress
from hpi_agent.building.trial import Bounds
from hpi_agent.convert.comparison import compare, find_comparison
from hpi_agent.convert.conversion import conversion_document, convert, find_converted
from hpi_agent.convert.shapes import checked_shapes
from hpi_agent.convert.steps import Limits
from hpi_agent.models.assemble import AssembledModel
from hpi_agent.models.paddle_files import PaddleModel
from hpi_agent.plugins.environment import PluginEnvironment
from hpi_agent.store.directory import Store
from hpi_core.errors import HpiError

INSTALL: Final = "hpi-agent install paddle2onnx"


@dataclass(frozen=True)
class ModelFiles:
    """What candidates of one model can be made of."""

    onnx: Path | None
    """The ONNX file, or None: there is none yet, or none that may be used."""
    onnx_digest: str | None
    """`sha256:<hex>` of the ONNX file of the model itself; None for one that was converted, whose key stands in."""
    conversion: Mapping[str, Any] | None
    """What shaped the converted ONNX file; None for one of the model itself, and where nothing can be converted."""
    paddle: PaddleModel | None
    no_onnx: str | None
    """Why there is no ONNX file, for people; None where there is one."""
    convertible: bool
    """Whether an ONNX file can be made: by conversion, or by the comparison that makes a found one trusted."""


def find_files(
    model: AssembledModel,
    store: Store,
    environment: PluginEnvironment | None,
    profile: Mapping[str, Sequence[Sequence[int]]],
    *,
    conversion_allowed: bool,
) -> ModelFiles:
    """Return the files that are there now; nothing is converted or compared.

    Args:
        model: The model directory.
        store: Where conversions and comparisons are remembered.
        environment: The locked environment with Paddle's converter, or None.
        profile: The declared shapes, on which an ONNX file found beside Paddle's was compared.
        conversion_allowed: PaddleX's `auto_paddle2onnx`.
    """
    if model.paddle is None:
        reason = (
            None if model.onnx is not None else "the model is an offline model of Ascend alone: there is no ONNX file"
        )
        return ModelFiles(model.onnx, model.onnx_digest, None, None, reason, convertible=False)
    paddle = model.paddle
    if environment is None:
        reason = (
            f"the model is in Paddle's format, and the environment that converts it is not installed: {INSTALL}"
            if model.onnx is None
            else "an ONNX file lies beside Paddle's files and nobody has compared the two: "
            f"{INSTALL}, or set model.format to ONNX to use it as it is"
        )
        return ModelFiles(None, None, None, paddle, reason, convertible=False)
    refused = None
    if model.onnx is not None:
        verdict = find_comparison(paddle, model.onnx, store, environment, shapes=checked_shapes(profile))
        if verdict is None:
            reason = "the ONNX file beside Paddle's files has not been compared with them yet"
            return ModelFiles(None, None, None, paddle, reason, convertible=True)
        if verdict.trusted:
            return ModelFiles(model.onnx, model.onnx_digest, None, paddle, None, convertible=True)
        refused = verdict.reason
    if not conversion_allowed:
        reason = refused or "auto_paddle2onnx is false"
        return ModelFiles(None, None, None, paddle, reason, convertible=False)
    document = conversion_document(paddle, environment)
    converted = find_converted(paddle, store, environment)
    if converted is None:
        return ModelFiles(None, None, document, paddle, "the model has not been converted yet", convertible=True)
    return ModelFiles(converted.onnx, None, document, paddle, refused, convertible=True)


def make_files(
    files: ModelFiles,
    model: AssembledModel,
    store: Store,
    environment: PluginEnvironment,
    profile: Mapping[str, Sequence[Sequence[int]]],
    bounds: Bounds,
    progress: ModelProgress,
    *,
    conversion_allowed: bool,
) -> ModelFiles:
    """Return the files after comparing and converting what has to be; a failure is a reason, not an end.

    Paddle's own backend can still serve a model that cannot be converted.
    """
    paddle = files.paddle
    if paddle is None or files.onnx is not None or not files.convertible:
        return files
    limits = Limits(seconds=bounds.seconds, memory_bytes=bounds.memory_bytes)
    shapes = checked_shapes(profile)
    try:
        if model.onnx is not None:
            progress.step("compare")
            verdict = compare(paddle, model.onnx, store, environment, shapes=shapes, limits=limits)
            if not verdict.trusted:
                progress.step("compare", verdict.reason)
        files = find_files(model, store, environment, profile, conversion_allowed=conversion_allowed)
        if files.onnx is None and files.conversion is not None:
            progress.step("convert")
            convert(paddle, store, environment, shapes=shapes, limits=limits)
            files = find_files(model, store, environment, profile, conversion_allowed=conversion_allowed)
    except HpiError as error:
        progress.step("convert", f"failed: {error}")
        return replace(files, no_onnx=str(error), convertible=False)
    return files
