"""One way to run a model: backend, precision and settings; pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from hpi_core.formats import Backend, ModelFormat, Precision

Option = tuple[str, str | int]


@dataclass(frozen=True)
class Candidate:
    """One way to run a model."""

    backend: Backend
    precision: Precision
    threads: int
    """Threads of one inference, at least 1."""
    options: tuple[Option, ...] = ()
    """Settings of the backend beyond these three, sorted by name. `paddle`: run_mode (`paddle`, `mkldnn`),
    mkldnn_cache_capacity; `onnxruntime`: graph_optimization (`off` reads the graph as it is written, `all` is the
    default); `openvino`: streams (1 is the default)."""

    @property
    def model_format(self) -> ModelFormat:
        """The format of model files that the backend reads."""
        return "paddle" if self.backend == "paddle" else "onnx"

    @property
    def name(self) -> str:
        """How people call it: `openvino`, `openvino bfloat16`, `paddle mkldnn`."""
        words: list[str] = [self.backend]
        mode = self.option("run_mode")
        if mode not in (None, self.backend):
            words.append(str(mode))
        if self.precision != "float32":
            words.append(self.precision)
        return " ".join(words)

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
        }

    @classmethod
    def from_json(cls, written: dict[str, Any]) -> Candidate:
        """Return the candidate of a JSON form."""
        options = tuple(sorted(written["options"].items()))
        return cls(written["backend"], written["precision"], written["threads"], options)
