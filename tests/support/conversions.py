"""The locked environment and small models, as conversions want them."""

from __future__ import annotations

import re
from pathlib import Path

from hpi_agent.convert.shapes import Shapes
from hpi_agent.models.paddle_files import PaddleModel, find_paddle_model
from hpi_agent.plugins.environment import PluginEnvironment
from models.paddle_models import paddle_model
from support.paddle_environment import paddle_python

LOCK_DIGEST = "sha256:" + "5" * 64

SMALL: dict[str, list[Shapes]] = {
    "tiny": [{"x": (1, 3, 32, 32)}, {"x": (2, 3, 64, 48)}],
    "tiny_legacy": [{"x": (1, 3, 32, 32)}, {"x": (2, 3, 64, 48)}],
    "several": [
        {"im_shape": (1, 2), "image": (1, 3, 8, 8), "scale_factor": (1, 2)},
        {"im_shape": (2, 2), "image": (2, 3, 8, 16), "scale_factor": (2, 2)},
    ],
}
"""Shapes on which the small models are checked."""


def converter_environment() -> PluginEnvironment:
    """Return the environment of the Python that has Paddle, with the versions that are installed in it."""
    python = paddle_python()
    found = python.parent.parent.glob("lib/python*/site-packages/*.dist-info")
    pairs = (re.fullmatch(r"(.+)-([^-]+)\.dist-info", path.name) for path in found)
    return PluginEnvironment("paddle2onnx", python, LOCK_DIGEST, {pair[1]: pair[2] for pair in pairs if pair})


def found_model(name: str, folder: Path | None = None) -> PaddleModel:
    """Return a model of the cache, or a copy of it in a folder."""
    model = find_paddle_model(paddle_model(name, folder))
    assert model is not None
    return model
