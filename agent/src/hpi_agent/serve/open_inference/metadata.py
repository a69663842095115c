"""Encode what the server says about itself, about a model, and about a refusal."""

from __future__ import annotations

from typing import Any, Final

import orjson

from hpi_agent.engines.base import TensorSpec
from hpi_core.formats import OPEN_INFERENCE_DTYPES

EXTENSIONS: Final = ("binary_tensor_data",)
"""Extensions of the protocol that the server supports, by their published names."""


def encode_server_metadata(name: str, version: str) -> bytes:
    """Return the body that answers `GET v2`."""
    return orjson.dumps({"name": name, "version": version, "extensions": EXTENSIONS})


def encode_metadata(
    model: str,
    platform: str,
    inputs: tuple[TensorSpec, ...],
    outputs: tuple[TensorSpec, ...],
    versions: tuple[str, ...] = (),
) -> bytes:
    """Return the body that answers `GET v2/models/<model>`; a free dimension is -1, absent versions are not named."""
    answer: dict[str, Any] = {"name": model}
    if versions:
        answer["versions"] = versions
    answer["platform"] = platform
    answer["inputs"] = [describe(spec) for spec in inputs]
    answer["outputs"] = [describe(spec) for spec in outputs]
    return orjson.dumps(answer)


def describe(spec: TensorSpec) -> dict[str, Any]:
    """Return the metadata of one tensor."""
    shape = [-1 if size is None else size for size in spec.shape]
    return {"name": spec.name, "datatype": OPEN_INFERENCE_DTYPES[spec.dtype], "shape": shape}


def encode_error(text: str) -> bytes:
    """Return the body of an answer with an error status."""
    return orjson.dumps({"error": text})
