"""Architecture, model and instruction sets of the processors, from /proc/cpuinfo.

Source:
    x86-64 psABI, "Micro-Architecture Levels", in the flag names of Linux (arch/x86/include/asm/cpufeatures.h);
    Linux, Documentation/arch/arm64/elf_hwcaps.rst and arch/arm64/include/asm/cputype.h.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from hpi_agent.discovery.allowance import CPUINFO_FILE
from hpi_agent.discovery.cpulist import read_cpulist
from hpi_agent.discovery.host_files import HostFiles, printable
from hpi_agent.profile import Architecture, Cpu

POSSIBLE_FILE: Final = "/sys/devices/system/cpu/possible"
MAX_NAME_CHARACTERS: Final = 100

X86_FLAGS: Final = (
    "sse4_2",
    "avx",
    "avx2",
    "fma",
    "f16c",
    "avx512f",
    "avx512bw",
    "avx512dq",
    "avx512vl",
    "avx512_vnni",
    "avx_vnni",
    "avx512_bf16",
    "avx512_fp16",
    "amx_tile",
    "amx_int8",
    "amx_bf16",
)
ARM_FLAGS: Final = {
    "asimd": "asimd",
    "asimddp": "asimddp",
    "fp16": "asimdhp",
    "sve": "sve",
    "sve2": "sve2",
    "bf16": "bf16",
    "i8mm": "i8mm",
}
"""Our name of a feature and the kernel's."""

X86_LEVELS: Final = (
    ("x86-64-v2", frozenset(["cx16", "lahf_lm", "popcnt", "pni", "sse4_1", "sse4_2", "ssse3"])),
    ("x86-64-v3", frozenset(["avx", "avx2", "bmi1", "bmi2", "f16c", "fma", "abm", "movbe", "xsave"])),
    ("x86-64-v4", frozenset(["avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"])),
)

X86_VENDORS: Final = {"GenuineIntel": "Intel", "AuthenticAMD": "AMD", "HygonGenuine": "Hygon"}
ARM_VENDORS: Final = {
    0x41: "Arm",
    0x42: "Broadcom",
    0x43: "Cavium",
    0x46: "Fujitsu",
    0x48: "HiSilicon",
    0x4E: "NVIDIA",
    0x51: "Qualcomm",
    0x61: "Apple",
    0x6D: "Microsoft",
    0xC0: "Ampere",
}
ARM_MODELS: Final = {
    (0x41, 0xD08): "Cortex-A72",
    (0x41, 0xD0C): "Neoverse-N1",
    (0x41, 0xD40): "Neoverse-V1",
    (0x41, 0xD49): "Neoverse-N2",
    (0x41, 0xD4F): "Neoverse-V2",
    (0x48, 0xD01): "Kunpeng 920",
    (0xC0, 0xAC3): "Ampere-1",
}

_Block = dict[str, str]


def read_cpu(files: HostFiles, online: tuple[int, ...]) -> Cpu:
    """Return the facts of the processors; what /proc/cpuinfo does not say is None and noted.

    Args:
        files: The host.
        online: Processors online, at least one.

    Raises:
        Refused: /proc/cpuinfo is there but describes no processor, or a file in /sys holds something else.
    """
    blocks = _read_blocks(files)
    flags = _common_flags(blocks)
    architecture = _architecture(blocks, flags)
    if blocks and architecture is None:
        files.note(f"{files.shown(CPUINFO_FILE)} describes neither x86_64 nor aarch64: no engine is known to run here")
    possible = read_cpulist(files, POSSIBLE_FILE)
    return Cpu(
        architecture=architecture,
        vendor=_distinct(_vendor(block) for block in blocks),
        model_name=_distinct(_model_name(block) for block in blocks),
        isa_level=isa_level(architecture, flags),
        isa_flags=_engine_flags(architecture, flags),
        physical_cores=_physical_cores(files, blocks, online),
        logical_cpus=len(online),
        possible_cpus=None if possible is None else len(possible),
    )


def isa_level(architecture: Architecture | None, flags: frozenset[str]) -> str | None:
    """Return the highest level whose features, and those of all levels below, are among the flags.

    Args:
        architecture: The instruction set; None gives None.
        flags: Every flag in the kernel's spelling.
    """
    if architecture == "aarch64":
        return next((name for name in ("sve2", "sve", "asimd") if name in flags), None)
    if architecture is None:
        return None
    reached = "x86-64-v1"
    for name, needed in X86_LEVELS:
        if not needed <= flags:
            break
        reached = name
    return reached


def _engine_flags(architecture: Architecture | None, flags: frozenset[str]) -> tuple[str, ...]:
    if architecture == "aarch64":
        return tuple(name for name, kernel_name in ARM_FLAGS.items() if kernel_name in flags)
    return tuple(name for name in X86_FLAGS if name in flags) if architecture else ()


def _read_blocks(files: HostFiles) -> list[_Block]:
    text = files.read(CPUINFO_FILE)
    if text is None:
        files.note(
            f"{files.shown(CPUINFO_FILE)} is missing or unreadable: architecture and processor model are not known"
        )
        return []
    blocks: list[_Block] = []
    for paragraph in text.split("\n\n"):
        pairs = (line.partition(":") for line in paragraph.split("\n") if ":" in line)
        block = {key.strip(): value.strip() for key, _, value in pairs}
        if "processor" in block:
            blocks.append(block)
    if not blocks:
        raise files.malformed(CPUINFO_FILE, text, "lines such as 'processor : 0'")
    return blocks


def _common_flags(blocks: list[_Block]) -> frozenset[str]:
    """Return what every processor has: a thread may run on any of them, also where big and little cores differ."""
    lines = {block.get("flags") or block.get("Features") or "" for block in blocks}
    return frozenset.intersection(*(frozenset(line.split()) for line in lines)) if lines else frozenset()


def _architecture(blocks: list[_Block], flags: frozenset[str]) -> Architecture | None:
    if "lm" in flags and all("flags" in block for block in blocks):
        return "x86_64"
    if "asimd" in flags and all("Features" in block for block in blocks):
        return "aarch64"
    return None


def _vendor(block: _Block) -> str | None:
    if "vendor_id" in block:
        return X86_VENDORS.get(block["vendor_id"], block["vendor_id"])
    implementer = _number(block.get("CPU implementer"))
    return None if implementer is None else ARM_VENDORS.get(implementer, f"implementer {implementer:#x}")


def _model_name(block: _Block) -> str | None:
    if "model name" in block:
        return block["model name"]
    implementer, part = _number(block.get("CPU implementer")), _number(block.get("CPU part"))
    if implementer is None or part is None:
        return None
    return ARM_MODELS.get((implementer, part), f"part {part:#x}")


def _number(text: str | None) -> int | None:
    return int(text, 16) if text is not None and re.fullmatch(r"0x[0-9a-fA-F]{1,8}", text) else None


def _distinct(names: Iterable[str | None]) -> str | None:
    """Return the different names in order of appearance, joined: a machine may mix kinds of processors."""
    found = dict.fromkeys(name for name in names if name)
    return printable(" + ".join(found))[:MAX_NAME_CHARACTERS] or None


def _physical_cores(files: HostFiles, blocks: list[_Block], online: tuple[int, ...]) -> int | None:
    siblings = [
        read_cpulist(files, f"/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list") for cpu in online
    ]
    if all(siblings):
        return len(set(siblings))
    cores = {(block["physical id"], block["core id"]) for block in blocks if {"physical id", "core id"} <= block.keys()}
    if cores:
        return len(cores)
    files.note("neither /sys nor /proc/cpuinfo says which processors share a core: physical cores are not known")
    return None
