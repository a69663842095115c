"""The measurements of kernels that ONNX Runtime's TensorRT provider reads and writes, kept in one sealed file.

The provider wants a folder and names the file in it by the compute capability. The file of ours is another than that of
the backend tensorrt (`timing_cache`): the release of TensorRT inside is not known here, so they are never mixed.
"""

from __future__ import annotations

import contextlib
import logging
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from hpi_agent.engines.nvidia_driver import Gpu
from hpi_agent.engines.sealed_bytes import Unsealed, seal, unseal

KIND: Final = "onnxruntime timing cache"
MAX_BYTES: Final = 2**30
_FOLDER: Final = "timing"

log: Final = logging.getLogger(__name__)


@dataclass(frozen=True)
class ProviderTiming:
    """One file of measurements.

    Attributes:
        path: Where it lies; its folder exists.
        release: Release of ONNX Runtime and its CUDA.
        gpu: What they were measured on.
    """

    path: Path
    release: str
    gpu: Gpu

    def lay_out(self, directory: Path) -> dict[str, str]:
        """Put what was measured before where a build reads it, and return the provider's settings for that."""
        folder = directory / _FOLDER
        folder.mkdir()
        content = self._read()
        if content is not None:
            (folder / self._name).write_bytes(content)
        return {"trt_timing_cache_enable": "True", "trt_timing_cache_path": str(folder)}

    def keep(self, directory: Path) -> None:
        """Replace the file by what a build has written; never needed, so what prevents it is said and left."""
        try:
            content = (directory / _FOLDER / self._name).read_bytes()
            _replace(self.path, seal(KIND, self._facts, content))
        except OSError as error:
            log.warning(
                "measurements of kernels cannot be kept; the next build takes as long",
                extra={"file": str(self.path), "reason": error.strerror},
            )

    @property
    def _facts(self) -> dict[str, Any]:
        return {"release": self.release, "device": self.gpu.name}

    @property
    def _name(self) -> str:
        major, minor = self.gpu.compute_capability
        # `GetTimingCachePath` in `tensorrt_execution_provider_utils.h`.
        return f"TensorrtExecutionProvider_cache_sm{10 * major + minor}.timing"

    def _read(self) -> bytes | None:
        try:
            with self.path.open("rb") as file:
                data = file.read(MAX_BYTES + 1)
        except FileNotFoundError:
            return None
        except OSError as error:
            self._ignore(error.strerror or type(error).__name__)
            return None
        try:
            facts, content = unseal(KIND, data)
        except Unsealed as error:
            self._ignore(str(error))
            return None
        if facts != self._facts:
            self._ignore(f"it was measured with {facts}, this is {self._facts}")
            return None
        return bytes(content)

    def _ignore(self, reason: str) -> None:
        log.warning(
            "the timing cache is ignored; every kernel is measured anew",
            extra={"file": str(self.path), "reason": reason},
        )


def _replace(path: Path, data: bytes) -> None:
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with open(descriptor, "wb") as file:
            file.write(data)
        os.replace(name, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(name)
        raise
