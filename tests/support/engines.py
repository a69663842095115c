"""Engines for tests: the real backends that compute in this process, and a runtime that lives in memory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from hpi_agent.engines.base import Engine, EngineRequest, Obtained, TensorSpec
from hpi_agent.engines.registry import build_engine
from hpi_core.errors import EngineFailed
from hpi_core.formats import Backend

IN_PROCESS: Final[tuple[Backend, ...]] = ("onnxruntime", "openvino")
"""The backends that compute inside the process that asks; both read ONNX files and have built forms."""

WIDTH: Final = 4


def with_built_form(request: EngineRequest) -> EngineRequest:
    """Return the request together with its built form, made on the spot."""
    built = build_engine(request)
    assert built is not None
    return replace(request, built=built)


class DoublingSession:
    """A model that doubles a float32 matrix of any number of rows."""

    inputs: tuple[TensorSpec, ...] = (TensorSpec("x", "float32", (None, WIDTH)),)
    outputs: tuple[TensorSpec, ...] = (TensorSpec("doubled", "float32", (None, WIDTH)),)

    def __init__(self, request: EngineRequest) -> None:
        self.obtained = Obtained(request.backend, "1.0 of tests", "float32", request.threads, "cpu")
        self.closed = False

    def run(self, feeds: Mapping[str, NDArray[Any]]) -> list[NDArray[Any]]:
        """Return twice the input, as an array of its own."""
        return [feeds["x"] * np.float32(2)]

    def close(self) -> None:
        """Remember that the memory was given back."""
        self.closed = True


@dataclass
class InMemoryRuntime:
    """Loads `DoublingSession` for every request, except on backends that are broken.

    Attributes:
        broken: Backends that cannot load, with the reason they give.
        sessions: Every session loaded so far, in order.
        requests: Every request made so far, in order, those of broken backends too.
    """

    broken: Mapping[Backend, str] = field(default_factory=dict)
    sessions: list[DoublingSession] = field(default_factory=list)
    requests: list[EngineRequest] = field(default_factory=list)

    def load(self, request: EngineRequest) -> Engine:
        """Return an engine for a request.

        Raises:
            EngineFailed: The backend is one of the broken ones.
        """
        self.requests.append(request)
        if request.backend in self.broken:
            raise EngineFailed(self.broken[request.backend])
        session = DoublingSession(request)
        self.sessions.append(session)
        return Engine(session, request)
