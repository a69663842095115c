"""One way to run a model: backend, precision, device and settings; pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from hpi_core.formats import Backend, DeviceKind, ModelFormat, Precision

Option = tuple[str, str | int]


@dataclass(frozen=True)
class Candidate:
    """One way to run a model."""

    backend: Backend
    precision: Precision
    threads: int
    """Threads of one inference, at least 1."""
    options: tuple[Option, ...] = ()
    """Settings of the backend beyond these, sorted by name. `paddle`: run_mode (`paddle`, `mkldnn` on the processors,
    `trt` on a GPU), mkldnn_cache_capacity; `onnxruntime`: graph_optimization (`off` reads the graph as it is written,
    `all` is the default), execution_provider (`cuda` or `tensorrt` on a GPU); `openvino`: streams (1 is the default);
    `tensorrt`: workspace_mebibytes, optimization_level."""
    device: DeviceKind = "cpu"
    """What computes."""
    instead_of: DeviceKind | None = None
    """What was asked for, where this computes on the processors instead; None: what was asked for computes."""

    @property
    def model_format(self) -> ModelFormat:
        """The format of model files that the backend reads."""
        if self.backend in ("paddle", "om"):
            return self.backend
        return "onnx"

    @property
    def name(self) -> str:
        """How people call it: `openvino`, `paddle mkldnn`, `onnxruntime cuda tf32`, `paddle on cpu instead of gpu`."""
        words: list[str] = [self.backend]
        mode = self.option("run_mode") or self.option("execution_provider")
        if mode == self.backend:
            # Paddle's plain mode; it alone has one on every device.
            mode = None if self.device == "cpu" else self.device
        if mode is not None:
            words.append(str(mode))
        if self.precision != "float32":
            words.append(self.precision)
        if self.instead_of is not None:
            words += ["on", self.device, "instead of", self.instead_of]
        return " ".join(words)

    @property
    def is_compiled(self) -> bool:
        """Whether its kernels are compiled for declared shapes: minutes of work that the built form saves."""
        return "tensorrt" in (self.backend, self.option("execution_provider")) or self.option("run_mode") == "trt"

    @property
    def has_built_form(self) -> bool:
        """Whether the store can keep more of it than its name."""
        return self.backend != "om" and (self.backend != "paddle" or self.is_compiled)

    def option(self, name: str) -> str | int | None:
        """Return one setting, or None where it is left to the backend."""
        return dict(self.options).get(name)

    def to_json(self) -> dict[str, Any]:
        """Return the JSON form, which `from_json` reads."""
        return {
            "backend": self.backend,
            "precision": self.precision,
            "threads": self.threads,
            "options": dict(self.options),
            "device": self.device,
            "insteadOf": self.instead_of,
        }

    @classmethod
    def from_json(cls, written: dict[str, Any]) -> Candidate:
        """Return the candidate of a JSON form; one that was written before there were devices is of the processors."""
        return cls(
            written["backend"],
            written["precision"],
            written["threads"],
            tuple(sorted(written["options"].items())),
            written.get("device", "cpu"),
            written.get("insteadOf"),
        )
