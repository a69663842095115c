"""Ascend NPUs, their driver and CANN: what npu-smi says beside what files say, and what a difference means.

A device file is what gives an NPU to a process; npu-smi names its chip, without which no model can be compiled for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from hpi_agent.discovery.ascend_files import MAX_NPUS, AscendFiles, read_ascend_files
from hpi_agent.discovery.lenient_files import LenientFiles
from hpi_agent.discovery.npu_smi import (
    INFO,
    RECORD_FILE,
    Ask,
    Chip,
    Table,
    find_npu_smi,
    is_bare,
    last_words,
    parse_table,
    soc_version,
)
from hpi_agent.profile import AscendDriver, AscendNpu, Cann

HEALTHY: Final = "OK"
MOUNT_ADVICE: Final = (
    "start this container by Ascend Docker Runtime (ASCEND_VISIBLE_DEVICES) or the device plugin, or give it all of "
    "/dev/davinci<number>, davinci_manager, devmm_svm and hisi_hdc with /usr/local/Ascend/driver and npu-smi"
)

_Found = tuple[AscendDriver | None, Cann | None, tuple[AscendNpu, ...]]


def read_ascend(files: LenientFiles, device_names: Sequence[str]) -> _Found:
    """Return driver, CANN and NPUs of a host; None and none where there is no sign of them.

    Args:
        files: The host; what is broken becomes a note.
        device_names: The names in /dev.
    """
    seen = read_ascend_files(files, device_names)
    if seen is None:
        return None, None, ()
    has_devices = bool(seen.device_numbers) or "davinci_manager" in device_names
    ask = find_npu_smi(files, seen.directory) if has_devices else None
    table = Table() if ask is None else _read_table(files, ask)
    npus = () if ask is None else _npus(files, ask, table)
    npus = _given(npus, seen.device_numbers)
    _note_devices(files, seen, ask, npus)
    driver = None
    if seen.has_driver or npus:
        driver = AscendDriver(seen.driver_version or table.driver_version, seen.firmware_version)
    return driver, seen.cann, npus


def _read_table(files: LenientFiles, ask: Ask) -> Table:
    text = ask(INFO)
    table = parse_table(text)
    if table.is_cut:
        files.note(f"npu-smi lists more than {MAX_NPUS} NPUs: only these are looked at")
    if not table.chips:
        files.note(
            f"npu-smi info names no NPU (its last words: {last_words(text)}): the chips are not known; run it as root "
            "on the host (-8005: the driver is not loaded, was upgraded without a reboot, or is not open to this user)"
        )
    return table


def _npus(files: LenientFiles, ask: Ask, table: Table) -> tuple[AscendNpu, ...]:
    boards: dict[str, str] = {}
    for chip in table.chips:
        # All chips of a machine that bear one name are of one kind: asking for each would take a second per chip.
        if is_bare(chip.name) and chip.name not in boards:
            boards[chip.name] = ask(("info", "-t", "board", "-i", str(chip.card), "-c", str(chip.number_on_card)))
    for name, board in boards.items():
        if soc_version(name, board) is None:
            files.note(
                f"npu-smi names the chips {name} alone, and npu-smi info -t board does not say their Chip Name and NPU "
                f"Name (its last words: {last_words(board)}): no model can be compiled for them; upgrade the driver"
            )
    return tuple(_npu(index, chip, boards.get(chip.name)) for index, chip in enumerate(table.chips))


def _npu(index: int, chip: Chip, board: str | None) -> AscendNpu:
    return AscendNpu(
        index=index,
        chip=soc_version(chip.name, board),
        # Layouts without the number have one chip on each card, numbered alike.
        device_number=chip.card if chip.device_number is None else chip.device_number,
        card=chip.card,
        card_chip=chip.number_on_card,
        pci_bus_id=chip.pci_bus_id,
        memory_bytes=None if chip.memory_mebibytes is None else chip.memory_mebibytes * 2**20,
        memory_kind=chip.memory_kind,
        health=chip.health,
        template=chip.template,
    )


def _given(listed: tuple[AscendNpu, ...], numbers: tuple[int, ...]) -> tuple[AscendNpu, ...]:
    """Return the NPUs by device number: those of npu-smi with their device files, and those that only one side has."""
    if len(listed) == len(numbers) and {npu.device_number for npu in listed} != set(numbers):
        # A container's vNPU is /dev/davinci100 and device 0 of npu-smi; both sides count in the same order.
        listed = tuple(replace(npu, device_number=number) for npu, number in zip(listed, numbers, strict=True))
    told = {npu.device_number for npu in listed}
    npus = [npu if npu.device_number in numbers else replace(npu, fault=NO_DEVICE_FILE) for npu in listed]
    npus += [
        AscendNpu(0, None, number, fault=NOT_LISTED if listed else None) for number in numbers if number not in told
    ]
    ordered = sorted(npus, key=lambda npu: npu.device_number or 0)
    return tuple(replace(npu, index=index) for index, npu in enumerate(ordered))


NO_DEVICE_FILE: Final = "its device file is not there"
NOT_LISTED: Final = "npu-smi does not list it, though its device file is there"


def _note_devices(files: LenientFiles, seen: AscendFiles, ask: Ask | None, npus: tuple[AscendNpu, ...]) -> None:
    if not npus:
        what = "the Ascend driver is there" if seen.has_driver else "CANN is installed"
        files.note(
            f"{what}, but this process was given no NPU: there is no {files.shown('/dev/davinci')}<number>; ask for "
            "one where it has to compute on it (the limit huawei.com/Ascend... of a pod, ASCEND_VISIBLE_DEVICES)"
        )
        return
    if seen.device_numbers and seen.missing_companions:
        files.note(f"there are NPUs, but no {', '.join(seen.missing_companions)}: none can be opened; {MOUNT_ADVICE}")
    if ask is None:
        files.note(_unasked(files))
    if seen.cann is None:
        files.note(
            f"there are NPUs, but no CANN below {files.shown('/usr/local/Ascend')}: no model can be compiled or run; "
            "use an image with CANN, or install it and source its set_env.sh"
        )
    for npu in npus:
        name = f"NPU {npu.index} ({npu.chip or 'unknown chip'}, {files.shown('/dev/davinci')}{npu.device_number})"
        if npu.fault is not None:
            files.note(f"{name} cannot be used: {npu.fault}; {MOUNT_ADVICE}")
        elif npu.health is not None and npu.health != HEALTHY:
            files.note(
                f"{name} reports the health {npu.health}: answers may be wrong or slow; read npu-smi info -t health "
                f"-i {npu.card} -c {npu.card_chip} on the host"
            )


def _unasked(files: LenientFiles) -> str:
    if files.files.is_own_machine:
        return f"there are NPUs, but no npu-smi: their chips are not known, nothing can be built; {MOUNT_ADVICE}"
    return (
        f"npu-smi is not asked, because {files.shown('/')} is not this machine's own root and holds no "
        f"{RECORD_FILE.lstrip('/')}: the chips of its NPUs are not known"
    )
