"""The self-test of a plugin variant on a device: one tiny model, loaded and run on every backend, its answer compared.

Each backend has a process of its own, as a candidate has: one that crashes or hangs is a line in the result.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from hpi_agent.building.placement import Placement
from hpi_agent.building.site import Site
from hpi_agent.building.trial import Bounds, Trial
from hpi_agent.configuration import configs_directory
from hpi_agent.convert.atc import compile_with_atc
from hpi_agent.engines.base import ShapeProfile
from hpi_agent.engines.registry import DEVICES
from hpi_agent.select.candidate import Candidate
from hpi_agent.select.gate import difference
from hpi_core.errors import Bug, EngineFailed, HpiError, Refused
from hpi_core.formats import BACKENDS, Backend

MODEL: Final = Path("plugins", "self_test_model")
INPUT: Final = "x"
TOLERANCE: Final = 1e-3
"""Most that max |a − b| / max |a| may be. TF32 and float16 of an offline model differ by some 1e-4 (5 values, one
convolution); a backend that computes nonsense differs by 1."""
SECONDS: Final = 300.0
"""For one step of one backend: TensorRT needs most of a minute for its first engine on a new GPU."""
MEMORY_BYTES: Final = 3 * 2**30


@dataclass(frozen=True)
class BackendResult:
    """What became of one backend."""

    backend: Backend
    failure: str = ""
    """Why it does not work here; empty: it does."""
    version: str = ""
    microseconds: int = 0
    """Of one inference."""
    largest_difference: float = 0.0


def claimed_backends(names: Sequence[str], site: Site) -> tuple[Backend, ...]:
    """Return the backends to test on a device.

    Of a variant's claims those that cannot compute on the device are left out: a GPU variant does all that the CPU
    variant does, and its self-test is of the GPU.

    Args:
        names: What the variant claims; empty: whatever is installed here for the device.
        site: The machine, with the device.

    Raises:
        Refused: A name is no backend, or none of them computes on the device.
    """
    unknown = [name for name in names if name not in BACKENDS]
    if unknown:
        raise Refused(f"no such backend: {', '.join(unknown)}; there are {', '.join(BACKENDS)}")
    installed = site.runtimes if site.device.kind == "cpu" else site.device_runtimes
    claimed = names or [name for name, version in installed.items() if version is not None]
    able = tuple(one for one in BACKENDS if one in claimed and site.device.kind in DEVICES[one])
    if not able:
        raise Refused(
            f"none of {', '.join(claimed) or 'no backends'} computes on {site.device}: nothing is to be tested"
        )
    return able


def tested_backends(backends: Sequence[Backend], site: Site) -> Iterator[BackendResult]:
    """Yield what became of each backend, one after the other."""
    with tempfile.TemporaryDirectory(prefix="hpi-self-test-") as scratch:
        for backend in backends:
            try:
                yield _test(backend, site, Path(scratch))
            except Bug:
                raise
            except HpiError as error:
                yield BackendResult(backend, str(error))


def _test(backend: Backend, site: Site, scratch: Path) -> BackendResult:
    folder = configs_directory() / MODEL
    expected = _expected(folder)
    shape = tuple(expected["shape"])
    step = float(expected["step"])
    feeds = {INPUT: np.sin(np.arange(np.prod(shape)) * step).astype(np.float32).reshape(shape)}
    candidate = _candidate(backend, site)
    profiles = (ShapeProfile(INPUT, shape, shape, shape),) if candidate.is_compiled else ()
    placement = Placement(site.access.device, profiles, None, site.access.environment)
    bounds = Bounds(SECONDS, MEMORY_BYTES)
    path = _model_path(backend, site, folder, shape, scratch)
    trial = Trial.start(candidate, path, site.interpreter_of(candidate), bounds, placement)
    try:
        trial.load(scratch, None)
        trial.keep(feeds)
        [answer] = trial.answer(0).values()
        # An offline model of float16 may answer in float16.
        apart = difference(answer.astype(np.float32), np.array([expected["answer"]], np.float32))
        if apart > TOLERANCE:
            raise EngineFailed(f"its answer differs by {apart:.1e}, at most {TOLERANCE:.0e} is allowed")
        return BackendResult(backend, "", str(trial.obtained["version"]), min(trial.round()), apart)
    finally:
        trial.close()


def _candidate(backend: Backend, site: Site) -> Candidate:
    kind = site.device.kind
    options = {("paddle", "cpu"): (("run_mode", "paddle"),), ("onnxruntime", "gpu"): (("execution_provider", "cuda"),)}
    precision: Any = "float16" if backend == "om" else "float32"
    return Candidate(backend, precision, 1, options.get((backend, kind), ()), kind)


def _model_path(backend: Backend, site: Site, folder: Path, shape: tuple[int, ...], scratch: Path) -> Path:
    if backend == "paddle":
        return folder / "inference.json"
    if backend != "om":
        return folder / "inference.onnx"
    accelerator = site.hardware.accelerator
    if accelerator is None or accelerator.chip is None:
        raise EngineFailed("the chip of the NPU is not known: `hpi-agent detect` says why")
    output = scratch / "inference.om"
    compile_with_atc(
        folder / "inference.onnx",
        output,
        chip=accelerator.chip,
        shapes={INPUT: shape},
        precision="float16",
        timeout_seconds=SECONDS,
    )
    return output


def _expected(folder: Path) -> Mapping[str, Any]:
    path = folder / "answer.json"
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise Bug(f"{path} of this installation cannot be read: {error}") from error
    if not isinstance(found, dict):
        raise Bug(f"{path} of this installation is no JSON object")
    return found
