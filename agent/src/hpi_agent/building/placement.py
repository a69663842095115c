"""Where a candidate computes and what it is compiled for: what its process has to know beyond what it is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from hpi_agent.engines.base import CPU, Device, EngineRequest, ShapeProfile
from hpi_agent.select.candidate import Candidate
from hpi_agent.store.entry import Entry

BUILT_FILE: Final = "engine.bin"
"""The file of a published engine; an engine that needs no building has none."""

MAX_BUILT_BYTES: Final = 2**32


@dataclass(frozen=True)
class Placement:
    """What is the same for an engine wherever it is loaded on one machine; the default is that of the processors."""

    device: Device = CPU
    profiles: tuple[ShapeProfile, ...] = ()
    """Shapes to compile for; empty where nothing is compiled."""
    device_memory_bytes: int | None = None
    """Most memory of the device that building and running may take. Unit: bytes."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """Variables to set before the runtime is loaded."""

    def to_json(self) -> dict[str, Any]:
        """Return the JSON form, which `from_json` reads; variables are set by whoever starts the process."""
        return {
            "device": {"kind": self.device.kind, "index": self.device.index},
            "profiles": [vars(profile) for profile in self.profiles],
            "deviceMemoryBytes": self.device_memory_bytes,
        }

    @classmethod
    def from_json(cls, written: Mapping[str, Any]) -> Placement:
        """Return the placement of a JSON form."""
        profiles = (
            ShapeProfile(one["name"], tuple(one["smallest"]), tuple(one["usual"]), tuple(one["largest"]))
            for one in written["profiles"]
        )
        return cls(Device(**written["device"]), tuple(profiles), written["deviceMemoryBytes"])


def engine_request(
    candidate: Candidate,
    model_path: Path,
    interpreter: Path | None,
    placement: Placement,
    built: bytes | None = None,
    timing_cache: Path | None = None,
) -> EngineRequest:
    """Return what an engine is asked for when a candidate is built or loaded."""
    return EngineRequest(
        model_path,
        candidate.backend,
        candidate.threads,
        candidate.precision,
        candidate.options,
        built,
        interpreter,
        placement.device,
        placement.profiles,
        placement.device_memory_bytes,
        timing_cache,
    )


def read_built(entry: Entry) -> bytes | None:
    """Return the built form that an engine's entry holds, None where there was nothing to build.

    Raises:
        Damaged: The bytes are not what was published.
    """
    # Which files there are is in the manifest, and the entry was compared with it when it was opened.
    return entry.read(BUILT_FILE, MAX_BUILT_BYTES) if (entry.directory / BUILT_FILE).is_file() else None
