"""The facts of a machine, and the hardware class that follows from them; pure.

`hpi_agent.discovery` reads the facts. A hardware class is what a measured decision is remembered under: two machines of
one class are expected to choose the same engine, so it holds what moves that choice and leaves out what does not (the
clock, the kernel, the exact number of bytes).
"""

from __future__ import annotations

from hpi_agent.profile.accelerators import (
    AscendDriver,
    AscendNpu,
    Cann,
    GpuPart,
    MigSlice,
    NvidiaDriver,
    NvidiaGpu,
    gpu_parts,
    usable_npus,
)
from hpi_agent.profile.hardware import (
    HARDWARE_CLASS_FORMAT,
    AcceleratorClass,
    HardwareClass,
    hardware_class,
    plain_product,
)
from hpi_agent.profile.machine import Architecture, Bound, Cpu, CpuAllowance, CpuQuota, Machine, Memory, NumaNode

__all__ = [
    "HARDWARE_CLASS_FORMAT",
    "AcceleratorClass",
    "Architecture",
    "AscendDriver",
    "AscendNpu",
    "Bound",
    "Cann",
    "Cpu",
    "CpuAllowance",
    "CpuQuota",
    "GpuPart",
    "HardwareClass",
    "Machine",
    "Memory",
    "MigSlice",
    "NumaNode",
    "NvidiaDriver",
    "NvidiaGpu",
    "gpu_parts",
    "hardware_class",
    "plain_product",
    "usable_npus",
]
