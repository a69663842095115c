"""What NVML says of a host's GPUs: asked in a child process on the machine itself, read from a record elsewhere.

NVML speaks of the machine it runs on. Below any other root than `/`, the file `/nvml.json` of that root is its answer,
as `nvml_program` printed it when the tree was recorded; without one, NVML is not asked.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from hpi_agent.discovery.host_files import quoted
from hpi_agent.discovery.lenient_files import LenientFiles, word
from hpi_agent.discovery.nvidia_files import MAX_GPUS, address, uuid
from hpi_agent.profile import MigSlice, NvidiaGpu

RECORD_FILE: Final = "/nvml.json"
MODULE: Final = "hpi_agent.discovery.nvml_program"
TIMEOUT_SECONDS: Final = 45.0
"""How long NVML may take: without persistence mode a driver starts every GPU first, 1 to 3 s each."""
MAX_ANSWER_BYTES: Final = 1_048_576
"""Longest document: 256 GPUs with 7 slices each take 0.5 MB."""

UNSEARCHED_DIRECTORIES: Final = ("/usr/local/nvidia/lib64", "/usr/lib/wsl/lib")
"""Places of the library that hold NVIDIA's files alone and that no loader searches by itself."""

HUNG: Final = "HUNG"
CRASHED: Final = "CRASHED"
GARBLED: Final = "GARBLED"
"""Names of the errors of the child, beside those of NVML."""
NO_BINDING: Final = "NO_BINDING"
"""Name of the one error that says nothing against the GPUs."""

ADVICE: Final = {
    NO_BINDING: "install nvidia-ml-py into this environment",
    "NVML_ERROR_DRIVER_NOT_LOADED": "load the kernel module on the host (modprobe nvidia), or install the driver there",
    "NVML_ERROR_LIBRARY_NOT_FOUND": (
        "start this container by NVIDIA's runtime with the capabilities utility and compute "
        "(NVIDIA_DRIVER_CAPABILITIES), or install the driver's libraries"
    ),
    "NVML_ERROR_LIB_RM_VERSION_MISMATCH": (
        "reboot the host, or stop what uses its GPUs and load the nvidia modules again; a package upgrade replaces the "
        "library at once, the loaded module never"
    ),
    "NVML_ERROR_NO_PERMISSION": "give this process access to /dev/nvidiactl and /dev/nvidia<number>",
    "NVML_ERROR_UNKNOWN": (
        "start this container again if it had its GPU before (a reload of systemd can take the device away); else look "
        "for 'NVRM: Xid' in the host's kernel log"
    ),
    "NVML_ERROR_GPU_IS_LOST": (
        "it has fallen off the bus: look for 'NVRM: Xid' in the host's kernel log, take the node out of service and "
        "reset the GPU or power-cycle the host"
    ),
    "NVML_ERROR_RESET_REQUIRED": "stop what uses it and reset it (nvidia-smi --gpu-reset), or reboot the host",
}
OTHER_ADVICE: Final = "run nvidia-smi on the host and look for 'NVRM: Xid' in its kernel log"

# NVML names a slice after its GPU: `NVIDIA A100-SXM4-40GB MIG 1g.5gb`.
_PROFILE: Final = re.compile(r" MIG ([0-9][0-9a-z.+-]{0,31})$")

_Json = dict[str, Any]


@dataclass(frozen=True)
class NvmlAnswer:
    """What NVML said."""

    error: str | None = None
    """Name of the error that kept it from answering; None: it answered."""
    reason: str = ""
    """The same in words, and what to do."""
    driver_version: str | None = None
    library_version: str | None = None
    cuda_version: str | None = None
    gpus: tuple[tuple[int | None, NvidiaGpu], ...] = ()
    """Each with the number of its device file."""


def read_nvml(files: LenientFiles, library_directory: str | None) -> NvmlAnswer | None:
    """Return what NVML says, or None below a root that is not this machine's and holds no record of it.

    Args:
        files: The host.
        library_directory: Where the library was found.
    """
    if files.files.is_own_machine:
        from hpi_agent.processes.interpreter import command_for

        places = [os.environ.get("LD_LIBRARY_PATH", "")]
        places += [directory for directory in UNSEARCHED_DIRECTORIES if directory == library_directory]
        return ask_nvml(files, command_for(MODULE), ":".join(filter(None, places)))
    text = files.text(RECORD_FILE)
    return None if text is None else parse_nvml(files, text)


def ask_nvml(
    files: LenientFiles, command: Sequence[str], library_path: str, timeout_seconds: float = TIMEOUT_SECONDS
) -> NvmlAnswer:
    """Run the program that asks NVML, and return its answer; that it hangs or crashes is an answer too.

    Args:
        files: The host; notes are added to it.
        command: The program and its arguments.
        library_path: `LD_LIBRARY_PATH` of the program.
        timeout_seconds: When it counts as hung.
    """
    from hpi_agent.processes.command import run_command

    environment = {"PYTHONSAFEPATH": "1", **({"LD_LIBRARY_PATH": library_path} if library_path else {})}
    result = run_command(
        command, timeout_seconds=timeout_seconds, max_output_bytes=MAX_ANSWER_BYTES, environment=environment
    )
    if result.ending == "hung":
        said = f"NVML gave no answer within {timeout_seconds:g} s: the driver hangs; {OTHER_ADVICE}, then reboot it"
        return NvmlAnswer(HUNG, said)
    if result.ending != "ended" or result.exit_code != 0:
        last = next((line for line in reversed(result.errors.split("\n")) if line.strip()), "it wrote nothing")
        how = f"exit code {result.exit_code}" if result.ending == "ended" else result.ending
        return NvmlAnswer(CRASHED, f"asking NVML failed ({how}: {quoted(last)}); {OTHER_ADVICE}")
    return parse_nvml(files, result.output)


def parse_nvml(files: LenientFiles, text: str) -> NvmlAnswer:
    """Return a document of `nvml_program` as facts; whatever else it is gives an answer with an error."""
    document = _document(text)
    if document is None:
        return NvmlAnswer(GARBLED, f"NVML's answer is {quoted(text)}, which is no document of ours; {OTHER_ADVICE}")
    error = _mapping(document.get("error"))
    if error:
        name = word(str(error.get("name"))) or "unknown"
        return NvmlAnswer(name, f"NVML does not answer ({_told(error)}); {ADVICE.get(name, OTHER_ADVICE)}")
    told = _list(document.get("gpus"))
    count = max(_number(document.get("gpuCount")) or 0, len(told))
    if count > MAX_GPUS:
        files.note(f"NVML counts {count} GPUs: only the first {MAX_GPUS} are looked at")
    cuda = _number(document.get("cudaVersion"))
    library = word(_text(document.get("libraryVersion")))
    return NvmlAnswer(
        driver_version=word(_text(document.get("driverVersion"))),
        library_version=None if library is None else library.partition(".")[2] or library,
        cuda_version=None if cuda is None else f"{cuda // 1000}.{cuda % 1000 // 10}",
        gpus=tuple(_gpu(index, _mapping(gpu)) for index, gpu in enumerate(told[:MAX_GPUS])),
    )


def advice_on(fault: str) -> str:
    """Return what to do about a fault, which begins with the name of NVML's error where NVML reported it."""
    return ADVICE.get(fault.partition(":")[0], OTHER_ADVICE)


def _gpu(index: int, told: _Json) -> tuple[int | None, NvidiaGpu]:
    error, mig = _mapping(told.get("error")), told.get("migMode")
    capability = _list(told.get("computeCapability"))
    numbers = [number for number in map(_number, capability) if number is not None]
    gpu = NvidiaGpu(
        index=index,
        product=word(_text(told.get("name"))),
        uuid=uuid(_text(told.get("uuid"))),
        pci_bus_id=address(_text(told.get("pciBusId"))),
        compute_capability=f"{numbers[0]}.{numbers[1]}" if len(numbers) == len(capability) == 2 else None,
        memory_bytes=_number(told.get("memoryBytes")),
        mig_enabled=mig if isinstance(mig, bool) else None,
        mig_slices=tuple(_slice(_mapping(one)) for one in _list(told.get("migSlices"))[:MAX_GPUS]),
        fault=_told(error) if error else None,
    )
    return _number(told.get("minor")), gpu


def _slice(told: _Json) -> MigSlice:
    profile = _PROFILE.search(_text(told.get("name")))
    return MigSlice(
        index=_number(told.get("index")) or 0,
        profile=None if profile is None else profile[1],
        uuid=uuid(_text(told.get("uuid"))),
        memory_bytes=_number(told.get("memoryBytes")),
    )


def _document(text: str) -> _Json | None:
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return document if isinstance(document, dict) and document.get("formatVersion") == 1 else None


def _told(error: Mapping[str, Any]) -> str:
    return f"{word(str(error.get('name'))) or 'unknown'}: {word(_text(error.get('text'))) or 'no text'}"


def _mapping(value: Any) -> _Json:
    return value if isinstance(value, dict) else {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _number(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**63 else None
