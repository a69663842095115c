"""One way to compute a model, as the conformance suite sees it: on a real runtime, or on the double of one."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from hpi_agent.engines.base import CPU, Device, EngineRequest, ShapeProfile, TensorSpec
from hpi_core.formats import Backend, Precision
from models.graphs import TinyModel
from support.arrays import TOLERANCE

Form = Literal["file", "built"]

SWITCH: Final = "HPI_TEST_DEVICES"
"""The environment variable that names the ways, separated by commas, to run on their devices and not on doubles."""

LARGEST_SIZE: Final = 64
"""Largest size that the tests give a free dimension of a tiny graph."""


@dataclass(frozen=True)
class Way:
    """One way to compute: what a request says beyond the model, and what the suite may expect."""

    name: str
    backend: Backend
    device: Device = CPU
    precision: Precision = "float32"
    options: tuple[tuple[str, str | int], ...] = ()
    forms: tuple[Form, ...] = ("file", "built")
    """What the suite loads: the model file, the form that was built from it before, or either."""
    computes: frozenset[str] | None = None
    """Names of the tiny graphs that it has to compute; None: all but those of `leaves`. Of every other graph the suite
    takes the right answer or a refusal."""
    leaves: frozenset[str] = frozenset()
    """Names of graphs that it need not compute."""
    compiles_for_shapes: bool = False
    """Whether a request has to say which shapes will come."""
    fixed_shapes: bool = False
    """Whether a loaded model takes one shape alone; then every example of a graph is the same."""
    tolerance: float = TOLERANCE
    """Largest difference to the right answer, relative to its largest value."""
    double: Callable[[], AbstractContextManager[object]] | None = None
    """Puts the double of the runtime in its place; None: the runtime itself is here."""
    write: Callable[[TinyModel, Path], Path] = TinyModel.save
    """Writes a graph into a directory in the format of the backend, and returns the file to load."""

    def __str__(self) -> str:
        """Return its name, by which pytest calls it."""
        return self.name

    @property
    def is_real(self) -> bool:
        """Whether it runs on the runtime and the device, not on a double."""
        return self.double is None or self.name in chosen_devices()

    def takes(self, model: TinyModel) -> bool:
        """Return whether it has to compute a graph."""
        return model.name not in self.leaves if self.computes is None else model.name in self.computes

    @contextmanager
    def presented(self) -> Iterator[None]:
        """Have the runtime in its place, or its double, as long as the context lasts."""
        if self.is_real:
            yield
            return
        assert self.double is not None
        with self.double():
            yield

    def request(self, model: TinyModel, directory: Path, threads: int = 1) -> EngineRequest:
        """Return the request for a graph, which is written into a directory."""
        return EngineRequest(
            self.write(model, directory),
            self.backend,
            threads,
            self.precision,
            self.options,
            device=self.device,
            profiles=profiles_of(model) if self.compiles_for_shapes else (),
        )

    def declared(self, model: TinyModel) -> tuple[tuple[TensorSpec, ...], tuple[TensorSpec, ...]]:
        """Return the inputs and outputs that a graph has this way: of one shape where it takes one shape alone."""
        if not self.fixed_shapes:
            return model.inputs, model.outputs
        feeds = self.example(model, np.random.default_rng(5))
        answer = model.answer(feeds)
        return (
            tuple(replace(spec, shape=feeds[spec.name].shape) for spec in model.inputs),
            tuple(replace(spec, shape=answer[spec.name].shape) for spec in model.outputs),
        )

    def example(self, model: TinyModel, generator: np.random.Generator) -> dict[str, NDArray[Any]]:
        """Return inputs for a graph that fit this way."""
        return model.example(np.random.default_rng(5) if self.fixed_shapes else generator)


def chosen_devices() -> frozenset[str]:
    """Return the names of the ways that have to run on their devices; empty: all run on their doubles."""
    return frozenset(name for name in os.environ.get(SWITCH, "").split(",") if name)


def profiles_of(model: TinyModel) -> tuple[ShapeProfile, ...]:
    """Return the shapes that the tests give a graph: every free dimension from 1 to 64."""
    return tuple(
        ShapeProfile(
            spec.name,
            smallest=tuple(1 if size is None else size for size in spec.shape),
            usual=tuple(8 if size is None else size for size in spec.shape),
            largest=tuple(LARGEST_SIZE if size is None else size for size in spec.shape),
        )
        for spec in model.inputs
    )
