"""What files say of Ascend NPUs, their driver, firmware and CANN.

    /dev/davinci<N>                                     one for each NPU given to this process; vNPUs count from 100
    /dev/davinci_manager, /dev/devmm_svm, /dev/hisi_hdc its companions, needed by every process
    /etc/ascend_install.info                            Driver_Install_Path_Param=/usr/local/Ascend
    /usr/local/Ascend/driver/version.info               Version=24.1.rc2, compatible_version_fw=[7.0.0,7.2.99]
    /usr/local/Ascend/firmware/version.info             Version=7.1.0.9.220
    /usr/local/Ascend/ascend-toolkit/latest/<machine>-linux/ascend_toolkit_install.info     version=8.0.RC3
    /usr/local/Ascend/ascend-toolkit/latest/version.cfg toolkit_running_version=[7.5.0.1.129:8.0.RC3]

Runtime-only packages lie in nnrt/latest and nnae/latest, CANN 8.5 and later in /usr/local/Ascend/cann.

Source:
    Ascend/mind-cluster, Ascend Docker Runtime, its component guide and base.list; vllm-project/vllm-ascend,
    collect_env.py and the outputs in its issues; CANN, "Software Installation", sections on checking the version.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from hpi_agent.discovery.lenient_files import LenientFiles, is_inside, word
from hpi_agent.profile import Cann

INSTALL_FILE: Final = "/etc/ascend_install.info"
DEFAULT_DIRECTORY: Final = "/usr/local/Ascend"
HOME_VARIABLES: Final = ("ASCEND_TOOLKIT_HOME", "ASCEND_HOME_PATH")
"""What CANN's `set_env.sh` sets: the installation in use."""
MAX_NPUS: Final = 256
"""Most NPUs that are looked at."""

Package = Literal["toolkit", "nnrt", "nnae"]

PLACES: Final[tuple[tuple[str, Package], ...]] = (
    ("ascend-toolkit/latest", "toolkit"),
    ("cann", "toolkit"),
    ("latest", "toolkit"),
    ("nnrt/latest", "nnrt"),
    ("nnae/latest", "nnae"),
)
"""Where CANN lies below its directory, the newest layout second; a toolkit before what can only run."""

_NODE: Final = re.compile(r"davinci([0-9]{1,5})")
_MACHINES: Final = ("x86_64-linux/", "aarch64-linux/", "arm64-linux/", "")
_CONFIGURED: Final = re.compile(r"\[[^\]:]*:([^\]:]+)\]")
_FIRMWARE_RANGE: Final = re.compile(r"\[([0-9.]+),([0-9.]+)\]")


@dataclass(frozen=True)
class AscendFiles:
    """What files say."""

    device_numbers: tuple[int, ...]
    """N of every `/dev/davinciN`, ascending."""
    missing_companions: tuple[str, ...]
    """Device files that a process needs beside its NPU and that are not there."""
    directory: str
    """Where driver and firmware lie, as a host path."""
    has_driver: bool
    driver_version: str | None
    firmware_version: str | None
    cann: Cann | None


def read_ascend_files(files: LenientFiles, device_names: Sequence[str]) -> AscendFiles | None:
    """Return what files say, or None when there is no sign of an NPU, a driver or CANN.

    Args:
        files: The host.
        device_names: The names in /dev.
    """
    numbers = sorted(int(match[1]) for match in map(_NODE.fullmatch, device_names) if match)
    seen = _read(files, numbers, device_names)
    return seen if numbers or seen.has_driver or seen.cann is not None else None


def _read(files: LenientFiles, numbers: Sequence[int], device_names: Sequence[str]) -> AscendFiles:
    if len(numbers) > MAX_NPUS:
        files.note(f"{files.shown('/dev')} has {len(numbers)} NPUs: only the first {MAX_NPUS} are looked at")
    install = files.fields(INSTALL_FILE, "=")
    directory = _directory(install.get("Driver_Install_Path_Param"))
    firmware_file = f"{_directory(install.get('Firmware_Install_Path_Param'))}/firmware/version.info"
    driver_file = f"{directory}/driver/version.info"
    driver = files.fields(driver_file, "=")
    firmware_version = files.version(firmware_file, files.fields(firmware_file, "=").get("Version"))
    _check_firmware(files, driver, firmware_version)
    return AscendFiles(
        device_numbers=tuple(numbers[:MAX_NPUS]),
        missing_companions=_missing_companions(device_names),
        directory=directory,
        has_driver="davinci_manager" in device_names or files.has(f"{directory}/driver"),
        driver_version=files.version(driver_file, driver.get("Version")),
        firmware_version=firmware_version,
        cann=_find_cann(files, directory),
    )


def _directory(stated: str | None) -> str:
    return stated.rstrip("/") if stated is not None and is_inside(stated) and stated.strip("/") else DEFAULT_DIRECTORY


def _missing_companions(device_names: Sequence[str]) -> tuple[str, ...]:
    # A chip that is its own host (310B) has svm0 and neither of the other two.
    needed = ("davinci_manager",) if "svm0" in device_names else ("davinci_manager", "devmm_svm", "hisi_hdc")
    return tuple(f"/dev/{name}" for name in needed if name not in device_names)


def _find_cann(files: LenientFiles, directory: str) -> Cann | None:
    for variable in HOME_VARIABLES:
        home = files.environment(variable)
        if home is None or not is_inside(home):
            continue
        if files.has(home):
            return _cann(files, home.rstrip("/"), "toolkit")
        files.note(f"{variable} names {word(home)}, which is not there: CANN is looked for in its usual places")
    for place, package in PLACES:
        for top in dict.fromkeys((directory, DEFAULT_DIRECTORY)):
            if files.has(f"{top}/{place}"):
                return _cann(files, f"{top}/{place}", package)
    return None


def _cann(files: LenientFiles, home: str, usual: Package) -> Cann:
    packages: tuple[Package, ...] = ("toolkit", "nnrt", "nnae")
    for package in packages:
        for machine in _MACHINES:
            path = f"{home}/{machine}ascend_{package}_install.info"
            version = files.version(path, files.fields(path, "=").get("version"))
            if version is not None:
                return Cann(version, package, files.shown(home))
    configured = files.fields(f"{home}/version.cfg", "=")
    for key in ("toolkit", "nnae", "nnrt", "runtime"):
        match = _CONFIGURED.fullmatch(configured.get(f"{key}_running_version", ""))
        if match is not None:
            return Cann(files.version(f"{home}/version.cfg", match[1]), usual, files.shown(home))
    files.note(f"{files.shown(home)} says no version of CANN (no ascend_toolkit_install.info, no version.cfg)")
    return Cann(None, usual, files.shown(home))


def _check_firmware(files: LenientFiles, driver: dict[str, str], firmware_version: str | None) -> None:
    ranges = _FIRMWARE_RANGE.findall(driver.get("compatible_version_fw", ""))
    if firmware_version is None or not ranges:
        return
    firmware = _numbers(firmware_version)
    if not any(_numbers(first) <= firmware <= _numbers(last) for first, last in ranges):
        allowed = ", ".join(f"{first} to {last}" for first, last in ranges)
        files.note(
            f"the firmware {firmware_version} does not fit the Ascend driver {word(driver.get('Version', '')) or ''}, "
            f"which allows {word(allowed)}: devices may refuse to work; install the two of one release"
        )


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"[0-9]{1,9}", version))
