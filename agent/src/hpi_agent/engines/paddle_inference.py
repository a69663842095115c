"""Paddle Inference on the CPU, plain or with oneDNN, in a child process of its own.

In a process of its own because `run` holds the interpreter lock for its whole time (a call of 114 ms kept another
thread waiting for 119 ms), and because its environment is another one: paddle is 0.85 GB that no serving image needs.

**A bounded cache instead of buckets.** oneDNN keeps its primitives for every input shape it has seen. Measured on a
2-core AMD EPYC (Zen 5), paddlepaddle 3.2.2, 1 thread, 2026-11-21, on a CRNN (convolutions, 2 bidirectional LSTM, 6,625
classes) of 1x3x48xW with W from 160 to 3,352 in steps of 8, memory after the first 100, 200, 300 and 400 widths and
after all 400 twice; other work shared the machine, so times compare within one row alone:

    run_mode paddle                          168 MB after 60 widths; 2.5 times slower than oneDNN
    mkldnn, no bound (capacity 0)            856   1389   1993   2588 MB, 6 MB more with every width
    mkldnn, capacity 64 (the default here)   928    974   1021   1051   1096 MB
    mkldnn, capacity 10 (PaddleX)            517    538    568    617 MB

    150 widths in random order, ms an image the first and the second time, and with one width alone:
    capacity 10     38.7   34.7   24.1
    capacity 64     42.9   26.8   21.3
    capacity 256    40.3   22.5   19.7, 1351 MB

So a bound on the number of shapes bounds the memory, and 64 costs a fifth where more shapes than that are in use at
random; fewer than 64 is refused. Rounding shapes up to buckets would need fewer primitives and is never done here:
a padded column reaches every answer of a bidirectional LSTM, a global mean or an attention, and the border of every
convolution beside it. Only who prepares the pictures may choose rounder widths, because there it is a choice of what is
asked and not of how it is answered.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, cast

import numpy as np
from numpy.typing import NDArray

from hpi_agent.engines.base import EngineRequest, Obtained, TensorSpec
from hpi_agent.processes.child import Child
from hpi_agent.processes.interpreter import command_for
from hpi_agent.processes.shared_tensors import SharedTensors
from hpi_core.errors import EngineFailed, Refused
from hpi_core.formats import DType

MODULE: Final = "hpi_agent.engines.paddle_program"
RUN_MODES: Final = ("paddle", "mkldnn")
WEIGHTS_SUFFIX: Final = ".pdiparams"
PROGRAM_SUFFIXES: Final = (".json", ".pdmodel")
MIN_CACHE_CAPACITY: Final = 64
"""Fewest shapes whose primitives oneDNN keeps; 0 would mean all of them."""
LOAD_SECONDS: Final = 300.0
"""How long starting the child, importing paddle (0.5 to 6 s) and loading a model may take together."""
RUN_SECONDS: Final = 300.0
"""How long one inference may take before the child counts as hung."""


class PaddleInferenceSession:
    """One model in Paddle Inference; calls from several threads are answered one after the other."""

    def __init__(self, request: EngineRequest, memory_bytes: int | None = None) -> None:
        """Load a model.

        Args:
            request: What is asked; options: `run_mode` (`paddle`, the default, or `mkldnn`) and
                `mkldnn_cache_capacity` (shapes whose oneDNN primitives are kept, at least 64, the default).
            memory_bytes: Most that the child may take; None: as much as this process and its limits allow.

        Raises:
            Refused: An option is unknown or out of bounds, or the precision needs another run mode.
            EngineFailed: The model is not whole, or paddle cannot load it.
        """
        wanted = _wanted(request)
        self._running = threading.Lock()
        self._tensors = SharedTensors.create()
        try:
            self._child = _start(request, self._tensors.file, memory_bytes)
            loaded = self._load(wanted)
        except BaseException:
            self._tensors.close()
            raise
        self.inputs: tuple[TensorSpec, ...] = tuple(_spec(written) for written in loaded["inputs"])
        self.outputs: tuple[TensorSpec, ...] = tuple(_spec(written) for written in loaded["outputs"])
        self.obtained = Obtained(
            backend="paddle",
            version=loaded["version"],
            precision=request.precision,
            threads=loaded["threads"],
            device=loaded["device"],
        )

    @property
    def pid(self) -> int:
        """Number of the child."""
        return self._child.pid

    @property
    def peak_memory_bytes(self) -> int:
        """Most that the child took so far. Unit: bytes."""
        return self._child.peak_memory_bytes

    def run(self, feeds: Mapping[str, NDArray[Any]]) -> list[NDArray[Any]]:
        """Return the outputs in declared order.

        Raises:
            EngineFailed: An operator failed on these arrays, or the child crashed, hung or is gone.
        """
        with self._running:
            question = {"kind": "run", "tensors": self._tensors.write(feeds)}
            answer = self._child.ask(question, timeout_seconds=RUN_SECONDS)
            views = self._tensors.views(answer.header["tensors"])
            # The next call writes over them; these copies are what the caller owns.
            return [np.array(views[spec.name]) for spec in self.outputs]

    def close(self) -> None:
        """End the child and free the memory shared with it."""
        self._child.close()
        self._tensors.close()

    def _load(self, wanted: Mapping[str, Any]) -> dict[str, Any]:
        try:
            question = {"kind": "load", "tensors_file": self._tensors.file, **wanted}
            return self._child.ask(question, timeout_seconds=LOAD_SECONDS).header
        except BaseException:
            self._child.close()
            raise


def paddle_version(interpreter: Path | None = None) -> str | None:
    """Return the version of paddle that an interpreter has, without importing it; None when it has none.

    Args:
        interpreter: The Python to ask; None: the one that runs this program.

    Raises:
        EngineFailed: The interpreter cannot be started, or lacks numpy.
    """
    command = command_for(MODULE, interpreter=interpreter)
    with Child.start(command, memory_bytes=None, name=f"the Python {command[0]}") as child:
        version: str | None = child.ask({"kind": "version"}, timeout_seconds=LOAD_SECONDS).header["version"]
    return version


def _start(request: EngineRequest, tensors_file: int, memory_bytes: int | None) -> Child:
    return Child.start(
        command_for(MODULE, interpreter=request.interpreter),
        memory_bytes=memory_bytes,
        # Paddle's own setting reaches its matrix library; its other loops run on OpenMP.
        environment={
            "OMP_NUM_THREADS": str(request.threads),
            "GLOG_minloglevel": "2",
            # Milliseconds that OpenMP's threads spin after their part: 200 by default, 0.19 s of processor time after
            # every run, on a core that the next model needs (libiomp5 of paddlepaddle 3.2.2). One is enough within one.
            "KMP_BLOCKTIME": "1",
        },
        name=f"paddle with {request.model_path}",
        pass_fds=[tensors_file],
    )


def _wanted(request: EngineRequest) -> dict[str, Any]:
    options = dict(request.options)
    unknown = sorted(set(options) - {"run_mode", "mkldnn_cache_capacity"})
    if unknown:
        raise Refused(f"the backend paddle has no option {unknown}; allowed: run_mode, mkldnn_cache_capacity")
    mode = options.get("run_mode", "paddle")
    if mode not in RUN_MODES:
        raise Refused(f"run_mode must be one of {', '.join(RUN_MODES)}, got {mode!r}")
    if request.precision == "bfloat16" and mode != "mkldnn":
        raise Refused(f"the backend paddle computes bfloat16 with run_mode 'mkldnn' alone, got {mode!r}")
    capacity = options.get("mkldnn_cache_capacity", MIN_CACHE_CAPACITY)
    if not isinstance(capacity, int) or capacity < MIN_CACHE_CAPACITY:
        raise Refused(f"mkldnn_cache_capacity must be a number from {MIN_CACHE_CAPACITY} on, got {capacity!r}")
    return {
        **_files(request.model_path),
        "threads": request.threads,
        "precision": request.precision,
        "run_mode": mode,
        "mkldnn_cache_capacity": capacity,
    }


def _files(program: Path) -> dict[str, str]:
    if program.suffix not in PROGRAM_SUFFIXES:
        raise Refused(f"{program} is no program of paddle; its name must end in {' or '.join(PROGRAM_SUFFIXES)}")
    weights = program.with_suffix(WEIGHTS_SUFFIX)
    missing = [str(path) for path in (program, weights) if not path.is_file()]
    if missing:
        raise EngineFailed(f"the model of paddle is not whole; missing: {', '.join(missing)}; deliver it again")
    return {"program": str(program.absolute()), "weights": str(weights.absolute())}


def _spec(written: Mapping[str, Any]) -> TensorSpec:
    return TensorSpec(written["name"], cast(DType, written["dtype"]), tuple(written["shape"]))
