"""One candidate in a process of its own, seen from the builder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from numpy.typing import NDArray

from hpi_agent.building.placement import Placement
from hpi_agent.building.trial_process import request_to_json
from hpi_agent.engines.base import TensorSpec
from hpi_agent.processes.child import Child
from hpi_agent.processes.frames import pack_tensors, unpack_tensors
from hpi_agent.processes.interpreter import command_for
from hpi_agent.select.candidate import Candidate

MODULE: Final = "hpi_agent.building.trial_process"


@dataclass(frozen=True)
class Bounds:
    """What one candidate may use."""

    seconds: float
    """For one step: building, loading, one answer, one round."""
    memory_bytes: int
    """Resident memory of its process tree."""


@dataclass
class Trial:
    """One candidate's process.

    Every method raises ChildFailed when the process crashes, hangs or exceeds its bounds, and whatever HpiError the
    engine raised in it.
    """

    candidate: Candidate
    model_path: Path
    interpreter: Path | None
    bounds: Bounds
    child: Child
    placement: Placement = field(default_factory=Placement)
    obtained: Mapping[str, Any] = field(default_factory=dict)
    inputs: tuple[TensorSpec, ...] = ()
    outputs: tuple[TensorSpec, ...] = ()
    load_microseconds: int = 0

    @classmethod
    def start(
        cls, candidate: Candidate, model_path: Path, interpreter: Path | None, bounds: Bounds, placement: Placement
    ) -> Trial:
        """Start the process; it loads nothing yet."""
        child = Child.start(
            command_for(MODULE),
            memory_bytes=bounds.memory_bytes,
            environment=placement.environment,
            name=candidate.name,
        )
        return cls(candidate, model_path, interpreter, bounds, child, placement)

    def build(self, timing_cache: Path | None = None) -> bytes | None:
        """Return the built form, or None when the backend has none.

        Args:
            timing_cache: A file with measurements of kernels, which makes the build shorter; its folder exists.
        """
        header = {"kind": "build", "request": self._request(timing_cache)}
        frame = self.child.ask(header, timeout_seconds=self.bounds.seconds)
        return bytes(frame.payload) if frame.header["built"] else None

    def load(self, store: Path, engine_key: str | None) -> None:
        """Load the engine from the store, or from the model file when the key is None."""
        header = {"kind": "load", "request": self._request(), "store": str(store), "engineKey": engine_key}
        frame = self.child.ask(header, timeout_seconds=self.bounds.seconds)
        self.load_microseconds = frame.header["loadMicroseconds"]
        self.obtained = frame.header["obtained"]
        self.inputs = tuple(_spec(written) for written in frame.header["inputs"])
        self.outputs = tuple(_spec(written) for written in frame.header["outputs"])

    def keep(self, feeds: Mapping[str, NDArray[Any]]) -> None:
        """Send one sample, which the process keeps."""
        described, buffers = pack_tensors(feeds)
        self.child.ask({"kind": "sample", "tensors": described}, buffers, timeout_seconds=self.bounds.seconds)

    def answer(self, index: int) -> dict[str, NDArray[Any]]:
        """Return the outputs on one sample kept before."""
        frame = self.child.ask({"kind": "answer", "index": index}, timeout_seconds=self.bounds.seconds)
        return unpack_tensors(frame.header["tensors"], frame.payload)

    def round(self) -> list[int]:
        """Return the microseconds of one inference on every sample."""
        frame = self.child.ask({"kind": "round"}, timeout_seconds=self.bounds.seconds)
        microseconds: list[int] = frame.header["microseconds"]
        return microseconds

    @property
    def device_memory_bytes(self) -> int | None:
        """Memory of the accelerator that the engine holds, None where its runtime does not tell."""
        told: int | None = self.obtained.get("device_memory_bytes")
        return told

    @property
    def memory_bytes(self) -> int:
        """Largest resident memory of the process tree so far."""
        return self.child.peak_memory_bytes

    def close(self) -> None:
        """End the process."""
        self.child.close()

    def _request(self, timing_cache: Path | None = None) -> dict[str, Any]:
        return request_to_json(self.candidate, self.model_path, self.interpreter, self.placement, timing_cache)


def _spec(written: Mapping[str, Any]) -> TensorSpec:
    return TensorSpec(written["name"], written["dtype"], tuple(written["shape"]))
