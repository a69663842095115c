"""An offline model of Ascend on an NPU, through acl.

There is nothing to build here: an offline model is what ATC made of an ONNX file for one kind of chip (see
`hpi_agent.convert.atc`). Its precision is what ATC was told and cannot be read from the file, so it is what the request
declares, and shown as such.

**One context, one lock.** acl wants a model loaded, run and unloaded in one context, and the copies and the run of one
call together. pyACL keeps the interpreter lock while it runs, so that more could not be had in this process anyway.

Nothing here has run on an NPU: see `README.md`.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

from numpy.typing import NDArray

from hpi_agent.engines.acl_library import AscendDevice, check
from hpi_agent.engines.base import EngineRequest, Obtained
from hpi_agent.engines.cann import UNKNOWN, installed_cann
from hpi_agent.engines.om_model import OfflineModel
from hpi_agent.engines.options import read_options
from hpi_core.errors import EngineFailed, Refused, TooLarge
from hpi_core.formats import Precision

SUFFIX: Final = ".om"
MAGIC: Final = b"IMOD"
"""How every offline model begins (`MODEL_FILE_MAGIC_NUM` of CANN's graph engine)."""
HEADER_BYTES: Final = 256
PRECISIONS: Final[tuple[Precision, ...]] = ("float16", "float32")
"""What ATC makes of a model: float16 unless it is told to keep what the model says."""


class OmSession:
    """One offline model; calls from several threads are answered one after the other."""

    def __init__(self, request: EngineRequest) -> None:
        """Load a model.

        Args:
            request: What is asked; there are no options.

        Raises:
            Refused: The device is not there, an option or a built form is given, or the precision is none that ATC
                makes.
            TooLarge: The model needs more memory of the device than the request allows.
            EngineFailed: The file is no offline model, or acl cannot load it.
        """
        _check_request(request)
        check_file(request.model_path)
        self._path = request.model_path
        self._running = threading.Lock()
        with ExitStack() as stack:
            self._device = AscendDevice(request.device.index)
            stack.callback(self._device.close)
            self._device.enter()
            _check_memory(request, self._device)
            self._model = self._load()
            stack.callback(self._model.close)
            self._resources = stack.pop_all()
        self.inputs = self._model.inputs
        self.outputs = self._model.outputs
        self.obtained = Obtained(
            backend="om",
            version=installed_cann() or UNKNOWN,
            precision=request.precision,
            # acl computes on the device and says nothing of threads.
            threads=request.threads,
            device=self._device.chip,
        )

    def run(self, feeds: Mapping[str, NDArray[Any]]) -> list[NDArray[Any]]:
        """Return the outputs in declared order.

        Raises:
            Refused: The model was not made for these shapes.
            EngineFailed: acl failed on these arrays.
        """
        with self._running:
            try:
                self._device.enter()
                return self._model.run(feeds)
            except EngineFailed as error:
                raise EngineFailed(f"om failed inside {self._path}: {error}") from error

    def close(self) -> None:
        """Unload the model, free its memory and destroy the context."""
        self._device.enter()
        self._resources.close()

    def _load(self) -> OfflineModel:
        try:
            return OfflineModel(self._device, self._path)
        except EngineFailed as error:
            raise EngineFailed(f"om cannot load {self._path}: {error}") from error


def build_with_om(request: EngineRequest) -> None:
    """Return None: an offline model is loaded as it is."""
    _check_request(request)


def check_file(path: Path) -> None:
    """Fail unless a file begins as an offline model does, before acl reads it.

    Raises:
        EngineFailed: It cannot be read, or is something else.
    """
    try:
        with path.open("rb") as file:
            header = file.read(HEADER_BYTES)
    except OSError as error:
        raise EngineFailed(
            f"{path} cannot be read: {error.strerror}; give the path of a readable offline model"
        ) from error
    if len(header) < HEADER_BYTES or not header.startswith(MAGIC):
        raise EngineFailed(f"{path} is cut short or no offline model; copy it again, or make it anew with ATC")


def _check_request(request: EngineRequest) -> None:
    read_options(request, {})
    if request.built is not None:
        raise Refused("the backend om has no built form; give the offline model alone")
    if request.model_path.suffix != SUFFIX:
        raise Refused(f"{request.model_path} is no offline model; its name must end in {SUFFIX}")
    if request.precision not in PRECISIONS:
        raise Refused(
            f"an offline model computes in {' or '.join(PRECISIONS)}, whichever ATC was told; got {request.precision}"
        )


def _check_memory(request: EngineRequest, device: AscendDevice) -> None:
    limit = request.device_memory_bytes
    if limit is None:
        return
    work, weights, code = device.acl.mdl.query_size(str(request.model_path))
    check(device.acl, code, "acl.mdl.query_size")
    if work + weights > limit:
        raise TooLarge(
            f"{request.model_path} needs {work} bytes to compute and {weights} for its weights on {request.device}, "
            f"{limit} are allowed; convert it for smaller shapes, or allow more"
        )
