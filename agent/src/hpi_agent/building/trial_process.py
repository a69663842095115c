"""The child that holds one candidate: builds it, loads it from the store, answers samples and times itself.

One process for one candidate, because thread pools, allocators and crashes must stay apart.
"""

from __future__ import annotations

import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpi_agent.building.placement import Placement, engine_request, read_built
from hpi_agent.engines.base import Engine, EngineRequest
from hpi_agent.engines.registry import build_engine, load_engine
from hpi_agent.processes.child_end import serve_frames
from hpi_agent.processes.frames import Buffer, Frame, pack_tensors, unpack_tensors
from hpi_agent.select.candidate import Candidate
from hpi_agent.store.directory import Store
from hpi_core.errors import EngineFailed, Refused


def request_to_json(
    candidate: Candidate,
    model_path: Path,
    interpreter: Path | None,
    placement: Placement,
    timing_cache: Path | None = None,
) -> dict[str, Any]:
    """Return what a child has to know to build or load a candidate."""
    return {
        "candidate": candidate.to_json(),
        "modelPath": str(model_path),
        "interpreter": None if interpreter is None else str(interpreter),
        "placement": placement.to_json(),
        "timingCache": None if timing_cache is None else str(timing_cache),
    }


def read_request(written: dict[str, Any], built: bytes | None = None) -> EngineRequest:
    """Return the request that `request_to_json` wrote."""
    interpreter, timing_cache = (
        None if written[name] is None else Path(written[name]) for name in ("interpreter", "timingCache")
    )
    return engine_request(
        Candidate.from_json(written["candidate"]),
        Path(written["modelPath"]),
        interpreter,
        Placement.from_json(written["placement"]),
        built,
        timing_cache,
    )


class Trial:
    """The handlers of the child."""

    def __init__(self) -> None:
        self._engine: Engine | None = None
        self._samples: list[dict[str, NDArray[Any]]] = []

    def build(self, frame: Frame) -> tuple[dict[str, Any], list[Buffer]]:
        """Return the built form as the payload."""
        built = build_engine(read_request(frame.header["request"]))
        return {"built": built is not None}, [] if built is None else [built]

    def load(self, frame: Frame) -> tuple[dict[str, Any], list[Buffer]]:
        """Load the engine, from the store when a key is given, and say what was obtained and how long it took."""
        built, key = None, frame.header["engineKey"]
        if key is not None:
            entry = Store(Path(frame.header["store"])).open("engines", key)
            if entry is None:
                raise EngineFailed(f"the engine {key} is not in the store {frame.header['store']}, or was damaged")
            with entry:
                built = read_built(entry)
        started = time.perf_counter()
        self._engine = load_engine(read_request(frame.header["request"], built))
        seconds = time.perf_counter() - started
        return {
            "loadMicroseconds": round(seconds * 1e6),
            "obtained": asdict(self._engine.obtained),
            "inputs": [asdict(spec) for spec in self._engine.inputs],
            "outputs": [asdict(spec) for spec in self._engine.outputs],
        }, []

    def sample(self, frame: Frame) -> tuple[dict[str, Any], list[Buffer]]:
        """Keep one sample for later."""
        feeds = unpack_tensors(frame.header["tensors"], frame.payload)
        # The payload's memory belongs to the frame; a copy of its own is aligned as an allocator aligns.
        self._samples.append({name: np.array(array) for name, array in feeds.items()})
        return {"samples": len(self._samples)}, []

    def answer(self, frame: Frame) -> tuple[dict[str, Any], list[Buffer]]:
        """Return the outputs on one sample."""
        described, buffers = pack_tensors(self._loaded().infer(self._samples[frame.header["index"]]))
        return {"tensors": described}, buffers

    def round(self, frame: Frame) -> tuple[dict[str, Any], list[Buffer]]:
        """Run every sample once and return the microseconds of each; one inference before them is not counted."""
        engine = self._loaded()
        # A core that has rested answers its first call up to a fifth more slowly.
        engine.infer(self._samples[0])
        microseconds = []
        for feeds in self._samples:
            started = time.perf_counter()
            engine.infer(feeds)
            microseconds.append(round((time.perf_counter() - started) * 1e6))
        return {"microseconds": microseconds}, []

    def _loaded(self) -> Engine:
        if self._engine is None:
            raise Refused("no engine is loaded in this process yet; ask for `load` first")
        return self._engine


def main(arguments: list[str]) -> int:
    """Answer the parent until it closes the channel."""
    trial = Trial()
    handlers = {
        "build": trial.build,
        "load": trial.load,
        "sample": trial.sample,
        "answer": trial.answer,
        "round": trial.round,
    }
    return serve_frames(handlers, arguments[0])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
