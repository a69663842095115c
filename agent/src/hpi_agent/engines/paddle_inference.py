"""Paddle Inference in a child process: plain or with oneDNN on a CPU, plain or by TensorRT on a GPU, and on an NPU.

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

import tempfile
import threading
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Final, cast

import numpy as np
from numpy.typing import NDArray

from hpi_agent.engines.base import EngineRequest, Obtained, TensorSpec
from hpi_agent.engines.paddle_built_form import facts_of, pack, say_what_is_left, unpack
from hpi_agent.engines.paddle_request import environment_of, read_wanted
from hpi_agent.engines.shape_profiles import check_within
from hpi_agent.processes.child import Child
from hpi_agent.processes.interpreter import command_for
from hpi_agent.processes.shared_tensors import SharedTensors
from hpi_core.errors import Refused
from hpi_core.formats import DType

MODULE: Final = "hpi_agent.engines.paddle_program"
LOAD_SECONDS: Final = 300.0
"""How long starting the child, importing paddle (0.5 to 6 s) and loading a model may take together."""
RUN_SECONDS: Final = 300.0
"""How long one inference may take before the child counts as hung."""
BUILD_SECONDS: Final = 7200.0
"""How long compiling for TensorRT may take: 24 minutes are known of one detector; whoever builds has a deadline too."""


class PaddleInferenceSession:
    """One model in Paddle Inference; calls from several threads are answered one after the other."""

    def __init__(self, request: EngineRequest, memory_bytes: int | None = None) -> None:
        """Load a model.

        Args:
            request: What is asked; options: `run_mode` (`paddle`, the default; `mkldnn` on the CPU; `trt` on a GPU) and
                `mkldnn_cache_capacity` (shapes whose oneDNN primitives are kept, at least 64, the default).
            memory_bytes: Most that the child may take; None: as much as this process and its limits allow.

        Raises:
            Refused: An option is unknown or out of bounds, the precision needs another run mode, or shapes are missing.
            EngineFailed: The model is not whole, paddle cannot load it, or does not compute where it has to.
        """
        wanted = read_wanted(request)
        compiles = wanted["run_mode"] == "trt"
        if request.built is not None and not compiles:
            raise Refused("the backend paddle has no built form; give the model files alone")
        say_what_is_left(request.model_path)
        self._profiles = request.profiles if compiles else ()
        self._running = threading.Lock()
        self._tensors = SharedTensors.create()
        try:
            with tempfile.TemporaryDirectory(prefix="hpi-paddle-") as directory:
                if compiles:
                    wanted["compiled"] = directory
                    if request.built is None:
                        _compile(request, wanted, Path(directory), memory_bytes)
                self._child = _start(request, self._tensors.file, memory_bytes)
                # Everything is read while it loads.
                loaded = self._load(request, wanted)
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
            from_store=request.built is not None,
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
            Refused: A shape lies beyond those that were compiled for.
            EngineFailed: An operator failed on these arrays, or the child crashed, hung or is gone.
        """
        check_within(self._profiles, feeds)
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

    def _load(self, request: EngineRequest, wanted: Mapping[str, Any]) -> dict[str, Any]:
        try:
            if request.built is not None:
                unpack(request, facts_of(request, _release_of(self._child)), Path(wanted["compiled"]))
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


def build_with_paddle(request: EngineRequest) -> bytes | None:
    """Compile a model for TensorRT and return the files as its built form; None for every other run mode.

    Raises:
        Refused: As by `PaddleInferenceSession`.
        EngineFailed: As by `PaddleInferenceSession`; or what was built cannot be loaded.
    """
    if dict(request.options).get("run_mode") != "trt":
        return None
    wanted = read_wanted(request)
    say_what_is_left(request.model_path)
    with tempfile.TemporaryDirectory(prefix="hpi-paddle-") as name:
        directory = Path(name)
        release = _compile(request, wanted, directory, None)
        built = pack(directory, facts_of(request, release))
    PaddleInferenceSession(replace(request, built=built)).close()
    return built


def _compile(request: EngineRequest, wanted: Mapping[str, Any], directory: Path, memory_bytes: int | None) -> str:
    """Compile in a child that ends with it, so that its memory is free for the one that serves; return the release."""
    profiles = [asdict(profile) for profile in request.profiles]
    question = {"kind": "convert", "directory": str(directory), "profiles": profiles, **wanted}
    with _start(request, None, memory_bytes) as child:
        release = _release_of(child)
        child.ask(question, timeout_seconds=BUILD_SECONDS)
    return release


def _release_of(child: Child) -> str:
    return str(child.ask({"kind": "version"}, timeout_seconds=LOAD_SECONDS).header["version"])


def _start(request: EngineRequest, tensors_file: int | None, memory_bytes: int | None) -> Child:
    return Child.start(
        command_for(MODULE, interpreter=request.interpreter),
        memory_bytes=memory_bytes,
        environment=environment_of(request),
        name=f"paddle with {request.model_path}",
        pass_fds=[] if tensors_file is None else [tensors_file],
    )


def _spec(written: Mapping[str, Any]) -> TensorSpec:
    return TensorSpec(written["name"], cast(DType, written["dtype"]), tuple(written["shape"]))
