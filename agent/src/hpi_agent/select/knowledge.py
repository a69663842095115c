"""What is known of models before anything is measured, and where a machine stands in it; pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from hpi_agent.profile import HardwareClass


@dataclass(frozen=True)
class Defect:
    """A version of a runtime that is known to fail on a group of models, whatever the row says."""

    pseudo_backend: str
    versions: tuple[str, ...]
    groups: tuple[str, ...]
    reason: str


@dataclass(frozen=True)
class Row:
    """What is known of one model in one environment."""

    order: tuple[str, ...]
    """Pseudo-backends, fastest first: `paddle_mkldnn` is the backend paddle with oneDNN."""
    known: bool
    """Whether the table has the model; False: `order` is that of the architecture or the device."""
    fails_on: tuple[str, ...] = ()
    """What the model is known to fail on, in words: `oneDNN`."""
    defects: tuple[Defect, ...] = ()
    """Versions of runtimes that are known to fail on such models."""
    borrowed: tuple[str, ...] = ()
    """Pseudo-backends that the column of another environment knows, fastest first; they come after `order`."""
    fails_with: tuple[str, ...] = ()
    """Pseudo-backends that are known to fail on the model with this device."""

    @property
    def listed(self) -> tuple[str, ...]:
        """Every pseudo-backend that is known to run the model, in the order to try them."""
        return (*self.order, *self.borrowed)


@dataclass(frozen=True)
class Borrowing:
    """What a column says nothing of and another one knows."""

    environment: str
    source: str
    """The other environment."""
    backends: tuple[str, ...]
    reason: str


@dataclass(frozen=True)
class Environment:
    """Where a machine's device stands in the table."""

    name: str
    """Name of the column; one that the table does not have is unknown for every model."""
    unknown: str | None
    """Whose order counts where the table has no row: an architecture, `gpu` or `npu`."""
    note: str | None = None
    """What stands in for what, for people."""


@dataclass(frozen=True)
class Knowledge:
    """The table."""

    environments: tuple[str, ...]
    rows: Mapping[str, tuple[tuple[str, ...] | None, ...]]
    """Orders by model and environment; None where the table says nothing."""
    fails_on: Mapping[str, tuple[str, ...]]
    unknown: Mapping[str, tuple[str, ...]]
    """Orders by architecture or device for what the table does not know."""
    source: str
    groups: Mapping[str, str]
    """PaddleX's module of each model, such as `text_detection`."""
    defects: tuple[Defect, ...]
    borrowed: tuple[Borrowing, ...] = ()
    fails_with: Mapping[str, Mapping[str, frozenset[str]]] = field(default_factory=dict)
    """Models that a pseudo-backend is known to fail on with one device: by device, then by pseudo-backend."""

    def row(self, model_name: str, environment: str, unknown: str | None) -> Row:
        """Return what is known of a model.

        Args:
            model_name: PaddleX's name.
            environment: Such as `cpu_x64`; one that the table does not have is unknown for every model.
            unknown: Whose order counts for what is unknown: an architecture, `gpu` or `npu`; of one that the table does
                not name, all backends are tried in the order of `aarch64`.
        """
        fails_on = self.fails_on.get(model_name, ())
        group = self.groups.get(model_name)
        defects = tuple(defect for defect in self.defects if group in defect.groups)
        failing = self.fails_with.get(unknown or "", {})
        fails_with = tuple(backend for backend, models in failing.items() if model_name in models)
        order = self._order(model_name, environment)
        if order is None:
            unordered = self.unknown.get(unknown or "", self.unknown["aarch64"])
            return Row(unordered, False, fails_on, defects, fails_with=fails_with)
        return Row(order, True, fails_on, defects, self._borrowed(model_name, environment, order), fails_with)

    def notes(self, row: Row, environment: Environment) -> tuple[str, ...]:
        """Return what a reader of a row has to know: what stands in for what, and why."""
        borrowings = [one.reason for one in self.borrowed if row.borrowed and one.environment == environment.name]
        return tuple(note for note in (environment.note, *borrowings) if note is not None)

    def _order(self, model_name: str, environment: str) -> tuple[str, ...] | None:
        orders = self.rows.get(model_name)
        if orders is None or environment not in self.environments:
            return None
        return orders[self.environments.index(environment)]

    def _borrowed(self, model_name: str, environment: str, order: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(
            backend
            for borrowing in self.borrowed
            if borrowing.environment == environment
            for backend in self._order(model_name, borrowing.source) or ()
            if backend in borrowing.backends and backend not in order
        )


NEWEST_CUDA: Final = 12
"""Major version of the newest CUDA that the table has a column for."""


def environment_of(hardware: HardwareClass) -> Environment:
    """Return where a class of hardware stands in the table."""
    if hardware.accelerator is None:
        name = "cpu_x64" if hardware.architecture == "x86_64" else f"cpu_{hardware.architecture}"
        return Environment(name, hardware.architecture)
    if hardware.device == "npu":
        return Environment("npu", "npu")
    toolkit = hardware.accelerator.toolkit
    major = (toolkit or "").partition(".")[0]
    if not major.isdecimal():
        return Environment("gpu", "gpu", "nobody knows which CUDA this driver serves, so no column of the table counts")
    if int(major) <= NEWEST_CUDA:
        return Environment(f"gpu_cuda{major}", "gpu")
    return Environment(
        f"gpu_cuda{NEWEST_CUDA}",
        "gpu",
        f"the driver serves CUDA {toolkit}; the table's newest column, of CUDA {NEWEST_CUDA}, stands in",
    )
