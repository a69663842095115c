"""What Paddle promises on a device, beside Paddle on the processors of the same machine; needs no test runner."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from device.claims import must_fail
from hpi_agent.engines.base import CPU, Device, Engine, EngineRequest, ShapeProfile
from hpi_agent.engines.registry import build_engine, load_engine
from hpi_core.errors import HpiError
from hpi_core.formats import Precision
from support.arrays import relative_difference

PROGRAM: Final = Path(__file__).parents[1] / "models" / "paddle_graphs_program.py"
GRAPHS_SECONDS: Final = 120
PICTURES: Final = (ShapeProfile("x", (1, 3, 8, 8), (1, 3, 32, 32), (2, 3, 64, 64)),)


@dataclass(frozen=True)
class PaddleWay:
    """One way to compute with Paddle on a device."""

    name: str
    device: Device
    precision: Precision
    run_mode: str
    tolerance: float


ON_DEVICES: Final = (
    PaddleWay("paddle-gpu", Device("gpu", 0), "float32", "paddle", 1e-4),
    PaddleWay("paddle-gpu-float16", Device("gpu", 0), "float16", "paddle", 2e-2),
    PaddleWay("paddle-gpu-tensorrt", Device("gpu", 0), "float32", "trt", 1e-4),
    PaddleWay("paddle-npu", Device("npu", 0), "float32", "paddle", 2e-3),
)


@dataclass
class PaddleBench:
    """One way, the folder of tiny programs, and the Python that has paddle."""

    way: PaddleWay
    directory: Path
    interpreter: Path

    def request(self, device: Device) -> EngineRequest:
        """Return a request for the graph with convolutions, on the device or on the processors."""
        program = self.directory / "convolution" / "inference.json"
        if device == CPU:
            return EngineRequest(program, "paddle", 1, interpreter=self.interpreter)
        request = EngineRequest(
            program,
            "paddle",
            1,
            self.way.precision,
            (("run_mode", self.way.run_mode),),
            interpreter=self.interpreter,
            device=device,
            profiles=PICTURES,
        )
        return request if self.way.run_mode != "trt" else replace(request, built=build_engine(request))

    def make_graphs(self) -> None:
        """Write the tiny programs, by the paddle of this machine."""
        if not (self.directory / "convolution").is_dir():
            command: Sequence[Any] = [self.interpreter, "-W", "ignore", PROGRAM, self.directory]
            subprocess.run(command, check=True, capture_output=True, timeout=GRAPHS_SECONDS)


def answers_agree_with_the_processors(bench: PaddleBench) -> None:
    """Three shapes, compared with plain Paddle on the processors; the device is named and is another one."""
    generator = np.random.default_rng(5)
    pictures = [generator.random((1, 3, side, side), dtype=np.float32) for side in (8, 32, 64)]
    with load_engine(bench.request(CPU)) as reference:
        wanted = [_answer(reference, picture) for picture in pictures]
    with load_engine(bench.request(bench.way.device)) as engine:
        answers = [_answer(engine, picture) for picture in pictures]
        obtained = engine.obtained
    differences = [relative_difference(answer, want) for answer, want in zip(answers, wanted, strict=True)]
    assert max(differences) <= bench.way.tolerance, f"{max(differences):.1e} > {bench.way.tolerance:.0e}"
    assert not obtained.device.startswith("CPU"), obtained
    assert obtained.precision == bench.way.precision, obtained


def a_device_that_is_not_there_fails(bench: PaddleBench) -> None:
    """The last number that may be asked for is never a device of a test machine."""
    program = bench.directory / "convolution" / "inference.json"
    device = Device(bench.way.device.kind, 63)
    request = EngineRequest(program, "paddle", 1, interpreter=bench.interpreter, device=device)
    must_fail(lambda: load_engine(request).close(), HpiError)


CLAIMS: Final[tuple[Callable[[PaddleBench], None], ...]] = (
    answers_agree_with_the_processors,
    a_device_that_is_not_there_fails,
)


def bench_of(way: PaddleWay, directory: Path) -> PaddleBench:
    """Return the bench of this machine, with its graphs."""
    bench = PaddleBench(way, directory, Path(sys.executable))
    bench.make_graphs()
    return bench


def _answer(engine: Engine, picture: NDArray[np.float32]) -> NDArray[Any]:
    return next(iter(engine.infer({"x": picture}).values()))
