"""The ways to run a model that each kind of device has, in the words of the knowledge table; pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

from hpi_agent.select.candidate import Candidate, Option
from hpi_agent.select.gate import Accuracy
from hpi_agent.select.knowledge import Row
from hpi_agent.select.wish import Wish
from hpi_core.formats import Backend, DeviceKind, Precision

CACHE_CAPACITY: Final = 64
"""Shapes that oneDNN keeps for Paddle. PaddleX's 10 collapse on the widths of lines: 26 ms an image instead of 9."""

HALF: Final = "_fp16"
"""What the table appends to a pseudo-backend that it knows to be right in float16."""


@dataclass(frozen=True)
class Way:
    """One way to run a model: a pseudo-backend of the knowledge table, with the precisions that it computes in."""

    pseudo: str
    backend: Backend
    mode: Option | None = None
    """What tells it from another way of the same backend: its run mode or execution provider."""
    device: DeviceKind = "cpu"
    precisions: tuple[Precision, ...] = ("float32",)
    """Those that are tried without being named, the fastest first."""
    reduced: tuple[Precision, ...] = ()
    """Those that the settings or the table have to name, or that the accuracy level Task lets in."""
    named: tuple[Precision, ...] = ()
    """Those that the settings have to name."""
    instead_of: DeviceKind | None = None
    """What was asked for, where the processors stand in; None: what was asked for computes."""

    @property
    def run_mode(self) -> str | int | None:
        """Paddle's run mode; None: another backend."""
        return self.mode[1] if self.mode is not None and self.mode[0] == "run_mode" else None

    @property
    def uses_tensorrt(self) -> bool:
        """Whether TensorRT compiles all of the model or parts of it."""
        return self.pseudo.endswith("tensorrt")

    def is_listed(self, row: Row) -> bool:
        """Whether a row says that the model runs in this way."""
        if self.pseudo == "onnxruntime_tensorrt":
            # PaddleX has no such way. Its TensorRT is that of the other two, with all that it cannot run left to CUDA.
            return any(way.is_listed(row) for way in GPU if way.uses_tensorrt and way is not self)
        return self.pseudo in row.listed or self.pseudo + HALF in row.listed

    def precisions_for(self, wish: Wish, row: Row, accuracy: Accuracy) -> Iterator[Precision]:
        """Yield the precisions to consider, in the order to try them.

        A reduced precision that is named comes first: whoever names it expects it to be the fastest. One that the level
        Task lets in comes last.
        """
        wanted = wish.precision if wish.backend == self.backend else None
        if self.backend == "om":
            # Computes as its file was made; ATC makes it in float16 unless it is told otherwise.
            yield wanted or "float16"
            return
        if wish.precision == "float32":
            yield "float32"
            return
        first = [one for one in (*self.reduced, *self.named) if one == wanted]
        if self.pseudo + HALF in row.listed and "float16" in self.reduced and _can_pass_reduced(accuracy):
            first.append("float16")
        last = self.reduced if accuracy.level == "Task" else ()
        yield from dict.fromkeys((*first, *self.precisions, *last))

    def candidate(self, precision: Precision, wish: Wish, cores: int) -> Candidate:
        """Return the candidate of one precision, with what the user asks of it.

        Threads: the whole cores where the processors compute. Elsewhere one: it hands work to the device, and what a
        graph leaves to the processors is a few scalars; more would take cores from the preparation of pictures.
        """
        options: list[Option] = [] if self.mode is None else [self.mode]
        if self.run_mode == "mkldnn":
            options.append(("mkldnn_cache_capacity", wish.cache_capacity or CACHE_CAPACITY))
        if self.backend == "tensorrt":
            asked = {
                "workspace_mebibytes": wish.workspace_mebibytes,
                "optimization_level": wish.optimization_level,
            }
            options += [(name, value) for name, value in asked.items() if value is not None]
        threads = wish.threads or (cores if self.device == "cpu" else 1)
        return Candidate(self.backend, precision, threads, tuple(sorted(options)), self.device, self.instead_of)


def _can_pass_reduced(accuracy: Accuracy) -> bool:
    # By numbers alone a reduced precision passes only where its user says how far it may be off.
    return accuracy.level != "Numeric" or accuracy.tolerance is not None


CPU: Final = (
    Way("openvino", "openvino", reduced=("bfloat16",)),
    Way("onnxruntime", "onnxruntime"),
    Way("paddle_mkldnn", "paddle", ("run_mode", "mkldnn"), reduced=("bfloat16",)),
    Way("paddle", "paddle", ("run_mode", "paddle")),
)

GPU: Final = (
    Way("onnxruntime", "onnxruntime", ("execution_provider", "cuda"), "gpu", ("tf32", "float32")),
    Way("paddle", "paddle", ("run_mode", "paddle"), "gpu", reduced=("float16",)),
    Way("tensorrt", "tensorrt", None, "gpu", ("tf32", "float32"), ("float16", "bfloat16"), ("int8",)),
    Way(
        "onnxruntime_tensorrt",
        "onnxruntime",
        ("execution_provider", "tensorrt"),
        "gpu",
        ("tf32", "float32"),
        ("float16",),
    ),
    Way("paddle_tensorrt", "paddle", ("run_mode", "trt"), "gpu", reduced=("float16",)),
)
"""TF32 and float32 are candidates of equal right: a library's default is no reason to lose 13 bits unasked."""

NPU: Final = (
    Way("om", "om", device="npu", precisions=("float16",), named=("float32",)),
    Way("paddle", "paddle", ("run_mode", "paddle"), "npu"),
)

OF_DEVICE: Final[dict[DeviceKind, tuple[Way, ...]]] = {"cpu": CPU, "gpu": GPU, "npu": NPU}


def ways_in_order(device: DeviceKind, row: Row) -> list[Way]:
    """Return every way of a device in the order to try them, then those of the processors that could stand in.

    The order is that of the row; then come the ways that the row does not have. Plain Paddle on the processors comes
    last wherever the table has it: it is 8 to 14 times behind oneDNN. Those that stand in are in an order of their own,
    which is that of unknown models: a row of a GPU says nothing of them.
    """
    ways = OF_DEVICE[device]
    places = {pseudo.removesuffix(HALF): place for place, pseudo in reversed(list(enumerate(row.listed)))}
    ordered = sorted(ways, key=lambda way: places.get(way.pseudo, len(row.listed)))
    if device == "cpu":
        return sorted(ordered, key=lambda way: way.pseudo == "paddle")
    return [*ordered, *(replace(way, instead_of=device) for way in CPU)]
