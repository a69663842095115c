"""The part of a key that says what an engine computes on, and how far the facts of an accelerator count; pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Literal

from hpi_agent.profile import AcceleratorClass, HardwareClass
from hpi_agent.select.candidate import Candidate

DriverMatch = Literal["Exact", "Verified", "Major"]
"""For which drivers an engine counts that was built under another."""


@dataclass(frozen=True)
class Granularity:
    """How far an accelerator's facts count, and what of it may be used."""

    driver_match: DriverMatch = "Exact"
    device_memory_bytes: int | None = None
    """Most memory of the device that one engine may take: it decides which kernels can be chosen. None: no limit."""

    def driver(self, version: str | None) -> str | None:
        """Return the part of a driver's version that counts.

        Exact: all of it, because engines do not carry over between patch levels. Major and Verified: the first number.
        Under Verified the key alone proves nothing: an engine serves under a driver only when it was loaded and judged
        under that very version (see `Decision.verified_on_drivers`).
        """
        if version is None or self.driver_match == "Exact":
            return version
        return version.partition(".")[0]

    def accelerator_to_json(self, accelerator: AcceleratorClass) -> dict[str, Any]:
        """Return what names an accelerator in a key."""
        return {**accelerator.to_json(), "driver": self.driver(accelerator.driver)}


WHOLE: Final = Granularity()
"""Every fact counts."""


def device_document(candidate: Candidate, hardware: HardwareClass, granularity: Granularity) -> dict[str, Any]:
    """Return what an engine computes on, as its key says it."""
    processors = {
        "vendor": hardware.vendor,
        "isaLevel": hardware.isa_level,
        "isaFlags": list(hardware.isa_flags),
    }
    if candidate.device == "cpu" or hardware.accelerator is None:
        return {"kind": "cpu", "architecture": hardware.architecture, **processors}
    return {
        "kind": candidate.device,
        "architecture": hardware.architecture,
        # ONNX Runtime writes what a GPU leaves over for the instructions of one processor; the others leave nothing.
        "processors": processors if candidate.backend == "onnxruntime" else None,
        "accelerator": granularity.accelerator_to_json(hardware.accelerator),
        "memoryBytes": granularity.device_memory_bytes,
    }
