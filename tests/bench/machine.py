"""What a figure was measured on: the machine, the versions, and how much of the machine others used meanwhile."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final

from hpi_agent.discovery import detect

PACKAGES: Final = ("paddlex", "onnxruntime", "openvino", "numpy", "opencv-contrib-python-headless", "rapidocr")
QUIET_PERCENT: Final = 10
"""Figures taken while others use more of the processors than this are marked as provisional."""


def machine_facts() -> dict[str, Any]:
    """Return the facts that a reader needs to place a figure, as JSON."""
    machine = detect(Path("/"))
    gibibytes = None if machine.memory.total_bytes is None else round(machine.memory.total_bytes / 2**30, 1)
    return {
        "date": datetime.now(timezone.utc).date().isoformat(),
        "processor": machine.cpu.model_name,
        "vendor": machine.cpu.vendor,
        "isaLevel": machine.cpu.isa_level,
        "isaFlags": list(machine.cpu.isa_flags),
        "wholeCores": machine.allowance.whole_cores,
        "boundBy": machine.allowance.bound_by,
        "memoryGibibytes": gibibytes,
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.release()}",
        "packages": {name: found for name in PACKAGES if (found := _version(name))},
    }


def describe_machine(facts: dict[str, Any]) -> str:
    """Return the facts as three lines for people."""
    packages = ", ".join(f"{name} {found}" for name, found in facts["packages"].items())
    return (
        f"{facts['date']}: {facts['processor']} ({facts['vendor']}, {facts['isaLevel']}), "
        f"{facts['wholeCores']} whole cores (bound by {facts['boundBy']}), {facts['memoryGibibytes']} GiB\n"
        f"features: {' '.join(facts['isaFlags'])}\n"
        f"{facts['system']}, Python {facts['python']}, {packages}"
    )


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


@dataclass
class LoadMeter:
    """Measures how busy other processes kept the processors, from its creation to `other_percent`.

    Source:
        proc(5), `/proc/stat` and `/proc/PID/stat`. Inside a container the first counts the whole host.
    """

    started: float = field(default_factory=time.monotonic)
    busy_before: float = field(default_factory=lambda: busy_seconds())
    own_before: float = field(default_factory=lambda: process_seconds([os.getpid()]))
    ended_before: float = field(default_factory=lambda: os.times().children_user + os.times().children_system)

    def other_percent(self, children: Iterable[int]) -> float:
        """Return the share of all processors that others used.

        Args:
            children: Processes of ours that were started after the meter and still run; those that have ended and
                were waited for are counted anyway.
        """
        ended = os.times()
        own = process_seconds([os.getpid(), *children]) - self.own_before
        own += ended.children_user + ended.children_system - self.ended_before
        busy = busy_seconds() - self.busy_before
        elapsed = (time.monotonic() - self.started) * (os.cpu_count() or 1)
        return max(0.0, 100 * (busy - own) / elapsed)


def verdict(percent: float) -> str:
    """Return the sentence on other load that goes with every figure."""
    quality = "quiet" if percent <= QUIET_PERCENT else f"more than {QUIET_PERCENT} %: these figures are provisional"
    return f"others used {percent:.0f} % of the processors meanwhile ({quality})"


def busy_seconds() -> float:
    """Return the seconds that all processors together have worked or been taken away since boot."""
    user, nice, system, _idle, _iowait, irq, softirq, steal = map(int, Path("/proc/stat").read_text().split()[1:9])
    return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")


def process_seconds(pids: Iterable[int]) -> float:
    """Return the processor seconds that processes have used; those that have ended count as 0."""
    total = 0
    for pid in pids:
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
        except OSError:
            continue
        total += int(fields[11]) + int(fields[12])
    return total / os.sysconf("SC_CLK_TCK")
