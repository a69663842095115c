"""Whether there is any sign of a GPU or an NPU: what most machines answer with no, in some system calls.

Apart from the modules that follow a sign up, so that a machine without devices does not even load those.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from hpi_agent.discovery.lenient_files import LenientFiles

NVIDIA_DIRECTORIES: Final = ("/proc/driver/nvidia", "/sys/module/nvidia")
"""Where the kernel module shows itself."""
NVIDIA_LIBRARY: Final = "libnvidia-ml.so.1"
LIBRARY_DIRECTORIES: Final = (
    "/usr/lib/x86_64-linux-gnu",
    "/usr/lib/aarch64-linux-gnu",
    "/usr/lib64",
    "/usr/lib",
    "/usr/local/nvidia/lib64",
    "/usr/lib/wsl/lib",
    "/run/nvidia/driver/usr/lib/x86_64-linux-gnu",
    "/run/nvidia/driver/usr/lib/aarch64-linux-gnu",
)
"""Where distributions, container runtimes, WSL and the driver containers of NVIDIA's operator put the library."""

ASCEND_PLACES: Final = ("/usr/local/Ascend", "/etc/ascend_install.info")
"""Where driver, firmware and CANN are, or are named."""


def has_nvidia_sign(files: LenientFiles, device_names: Sequence[str]) -> bool:
    """Return whether a driver, a library or a device file of NVIDIA GPUs is there.

    Args:
        files: The host.
        device_names: The names in /dev.
    """
    if any(name.startswith("nvidia") for name in device_names) or library_directory(files) is not None:
        return True
    return any(files.has(path) for path in NVIDIA_DIRECTORIES)


def has_ascend_sign(files: LenientFiles, device_names: Sequence[str]) -> bool:
    """Return whether a driver, CANN or a device file of Ascend NPUs may be there.

    Args:
        files: The host.
        device_names: The names in /dev.
    """
    return any(name.startswith("davinci") for name in device_names) or any(files.has(path) for path in ASCEND_PLACES)


def library_directory(files: LenientFiles) -> str | None:
    """Return where NVIDIA's management library lies, as a host path; None: it is in none of `LIBRARY_DIRECTORIES`."""
    return next((path for path in LIBRARY_DIRECTORIES if files.has(f"{path}/{NVIDIA_LIBRARY}")), None)
