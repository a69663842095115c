"""What NVIDIA's management library says of the machine's GPUs, as one JSON document on standard output.

Runs in a child process: a driver that hangs keeps whoever calls the library, and cannot be interrupted. Written for
`nvidia-ml-py` (module `pynvml`), NVIDIA's own binding; this is its one importer.

    formatVersion    1
    error            null, or why nothing else is known: {code, name, text}
    driverVersion    of the kernel module, as the library learnt it, such as "550.54.15"
    libraryVersion   of NVML, such as "12.550.54.15": the driver's after the first number
    cudaVersion      newest CUDA that the driver serves, such as 12040
    gpuCount         GPUs, also those beyond MAX_DEVICES
    gpus[]           index, name, uuid, pciBusId, minor, computeCapability [major, minor], memoryBytes, migMode,
                     migSlices, error (null, or the first call that failed on this GPU)
    migSlices[]      index, name, uuid, memoryBytes

A value that this GPU or driver has no answer to is null. `nvml.json` in a host tree is such a document, recorded.

Source:
    NVML API Reference Guide, "Device Queries" and "Multi Instance GPU Management"; nvidia-ml-py 13.615.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Final

FORMAT_VERSION: Final = 1
MAX_DEVICES: Final = 256
"""Most GPUs, and most slices of one, that are looked at."""
NO_BINDING: Final = {"code": None, "name": "NO_BINDING", "text": "the Python package nvidia-ml-py is not installed"}


def main() -> None:
    """Print the document."""
    try:
        import pynvml
    except ImportError:
        print(json.dumps({"formatVersion": FORMAT_VERSION, "error": NO_BINDING}))
        return
    print(json.dumps(describe(pynvml)))


def describe(nvml: Any) -> dict[str, Any]:
    """Return the document.

    Args:
        nvml: The module `pynvml`.
    """
    try:
        nvml.nvmlInit()
    except nvml.NVMLError as error:
        return {"formatVersion": FORMAT_VERSION, "error": _error(nvml, error)}
    ask = _Asker(nvml)
    count = ask(nvml.nvmlDeviceGetCount)
    return {
        "formatVersion": FORMAT_VERSION,
        "error": ask.error,
        "driverVersion": ask.maybe(nvml.nvmlSystemGetDriverVersion),
        "libraryVersion": ask.maybe(nvml.nvmlSystemGetNVMLVersion),
        "cudaVersion": ask.maybe(nvml.nvmlSystemGetCudaDriverVersion),
        "gpuCount": count,
        "gpus": [_gpu(nvml, index) for index in range(min(count or 0, MAX_DEVICES))],
    }


class _Asker:
    """Calls that remember the first error."""

    def __init__(self, nvml: Any) -> None:
        self._nvml = nvml
        self.error: dict[str, Any] | None = None

    def __call__(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Return an answer, or None and remember the error."""
        try:
            return function(*arguments)
        except self._nvml.NVMLError as error:
            self.error = self.error or _error(self._nvml, error)
            return None

    def maybe(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Return an answer; None where this GPU or driver has none for this process, which is no error."""
        nvml = self._nvml
        try:
            return function(*arguments)
        except nvml.NVMLError as error:
            # Of a GPU in MIG mode a container may see its slice alone: the rest is not permitted.
            absent = (nvml.NVML_ERROR_NOT_SUPPORTED, nvml.NVML_ERROR_FUNCTION_NOT_FOUND, nvml.NVML_ERROR_NO_PERMISSION)
            if error.value not in absent:
                self.error = self.error or _error(nvml, error)
            return None


def _gpu(nvml: Any, index: int) -> dict[str, Any]:
    ask = _Asker(nvml)
    handle = ask(nvml.nvmlDeviceGetHandleByIndex, index)
    gpu: dict[str, Any] = {"index": index}
    if handle is None:
        return {**gpu, "error": ask.error}
    pci, memory = ask.maybe(nvml.nvmlDeviceGetPciInfo, handle), ask.maybe(nvml.nvmlDeviceGetMemoryInfo, handle)
    mig = ask.maybe(nvml.nvmlDeviceGetMigMode, handle)
    gpu |= {
        "name": ask.maybe(nvml.nvmlDeviceGetName, handle),
        "uuid": ask.maybe(nvml.nvmlDeviceGetUUID, handle),
        "pciBusId": None if pci is None else _text(pci.busId),
        "minor": ask.maybe(nvml.nvmlDeviceGetMinorNumber, handle),
        "computeCapability": ask.maybe(nvml.nvmlDeviceGetCudaComputeCapability, handle),
        "memoryBytes": None if memory is None else int(memory.total),
        "migMode": None if mig is None else mig[0] == nvml.NVML_DEVICE_MIG_ENABLE,
    }
    gpu["migSlices"] = _mig_slices(nvml, handle, ask) if gpu["migMode"] else []
    return {**gpu, "error": ask.error}


def _mig_slices(nvml: Any, gpu: Any, ask: _Asker) -> list[dict[str, Any]]:
    slices: list[dict[str, Any]] = []
    for position in range(min(ask(nvml.nvmlDeviceGetMaxMigDeviceCount, gpu) or 0, MAX_DEVICES)):
        try:
            handle = nvml.nvmlDeviceGetMigDeviceHandleByIndex(gpu, position)
        except nvml.NVMLError:
            # Nothing is there, or it is another container's.
            continue
        memory = ask.maybe(nvml.nvmlDeviceGetMemoryInfo, handle)
        slices.append(
            {
                "index": position,
                "name": ask.maybe(nvml.nvmlDeviceGetName, handle),
                "uuid": ask.maybe(nvml.nvmlDeviceGetUUID, handle),
                "memoryBytes": None if memory is None else int(memory.total),
            }
        )
    return slices


def _error(nvml: Any, error: Any) -> dict[str, Any]:
    names = {value: name for name, value in vars(nvml).items() if name.startswith("NVML_ERROR_")}
    return {"code": error.value, "name": names.get(error.value, "NVML_ERROR"), "text": str(error)}


def _text(value: Any) -> str:
    return value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else str(value)


if __name__ == "__main__":
    main()
