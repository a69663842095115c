"""What the machine offers this process, read through one root path and never changed.

`cpu_allowance` is what engines size their threads by; `detect` reads everything. No hardware and no limit are values; a
file that does not say what the kernel promises is refused by name. What is broken about a GPU or an NPU is a note: the
machine computes without it. The tools that know devices (NVML, npu-smi) are asked in children with a deadline.
"""

from __future__ import annotations

from hpi_agent.discovery.allowance import cpu_allowance
from hpi_agent.discovery.machine import detect
from hpi_agent.profile import CpuAllowance, Machine

__all__ = ["CpuAllowance", "Machine", "cpu_allowance", "detect"]
