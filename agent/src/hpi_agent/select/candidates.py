"""Which ways to run a model are worth trying, in which order, and why the others are not; pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Final

from hpi_agent.select.candidate import Candidate
from hpi_agent.select.decision import Outcome
from hpi_agent.select.gate import Accuracy
from hpi_agent.select.knowledge import Row
from hpi_agent.select.wish import Wish
from hpi_core.formats import Backend, Precision

CACHE_CAPACITY: Final = 64
"""Shapes that oneDNN keeps for Paddle. PaddleX's 10 collapse on the widths of lines: 26 ms an image instead of 9."""

INSTALL: Final[Mapping[Backend, str]] = {
    "onnxruntime": "install onnxruntime",
    "openvino": "install openvino",
    "paddle": "hpi-agent install paddle2onnx",
}

MANUAL: Final = "auto_config: false with this backend uses it all the same"


@dataclass(frozen=True)
class ModelFacts:
    """What a model can be run from."""

    onnx: bool
    """Whether an ONNX file that may be used is there now."""
    convertible: bool
    """Whether one can be made."""
    paddle: bool
    """Whether Paddle's own files are there."""
    no_onnx: str | None = None
    """Why there is no ONNX file now."""


@dataclass(frozen=True)
class Offer:
    """What one machine can run."""

    architecture: str | None
    threads: int
    """Whole cores left to the process."""
    versions: Mapping[Backend, str | None]
    """Version of each backend; None: it is not installed."""
    bfloat16: bool
    """Whether the processors compute in bfloat16; without it that precision is emulated, slower than float32."""


@dataclass(frozen=True)
class Candidates:
    """What is worth trying."""

    survivors: tuple[Candidate, ...]
    """What is built, judged and measured, in the order of the knowledge table."""
    excluded: tuple[Outcome, ...]
    """Every other way, with the reason."""
    serve_now: tuple[Candidate, ...]
    """Ways in float32 that need no build and no conversion, in the order to try them: those of the survivors, then
    those that stand by for a wished backend. Float32 serves until the gate has passed a reduced precision."""


@dataclass(frozen=True)
class _Way:
    """One way before it is checked: a pseudo-backend, in one precision."""

    pseudo: str
    backend: Backend
    run_mode: str | None
    precision: Precision

    def candidate(self, wish: Wish, threads: int) -> Candidate:
        if self.run_mode is None:
            return Candidate(self.backend, self.precision, threads)
        options: tuple[tuple[str, str | int], ...] = (("run_mode", self.run_mode),)
        if self.run_mode == "mkldnn":
            options = (("mkldnn_cache_capacity", wish.cache_capacity or CACHE_CAPACITY), *options)
        return Candidate(self.backend, self.precision, threads, options)


WAYS: Final[tuple[_Way, ...]] = (
    _Way("openvino", "openvino", None, "float32"),
    _Way("onnxruntime", "onnxruntime", None, "float32"),
    _Way("paddle_mkldnn", "paddle", "mkldnn", "float32"),
    _Way("paddle", "paddle", "paddle", "float32"),
)
"""The pseudo-backends of a CPU. TensorRT's need a GPU and are no candidates of this release."""

REDUCIBLE: Final = frozenset({"openvino", "paddle_mkldnn"})
"""The ways that can compute in bfloat16."""


def enumerate_candidates(
    model: ModelFacts, wish: Wish, row: Row, offer: Offer, accuracy: Accuracy, *, fallback_allowed: bool
) -> Candidates:
    """Return what is worth trying for one model on one machine.

    Automatic mode refuses what prior knowledge says cannot work, and says so; manual mode tries what it is told. A
    backend that the settings name is the only one to be measured as long as it can run the model at all; where falling
    back is allowed the others stand by.

    Args:
        model: What the model can be run from.
        wish: What the user asks.
        row: What is known of the model.
        offer: What the machine can run.
        accuracy: `Task` lets reduced precisions be candidates by themselves.
        fallback_allowed: Whether other backends than the wished one may serve.
    """
    able: list[Candidate] = []
    excluded: list[Outcome] = []
    for heeds_knowledge in (True, False):
        able, excluded = [], []
        for way in _in_order(row, wish, accuracy):
            candidate = way.candidate(wish, wish.threads or offer.threads)
            reason = _unwished(way, wish, fallback_allowed=fallback_allowed) or _impossible(way, model, wish, offer)
            if heeds_knowledge and not wish.exactly:
                reason = reason or _known_not_to_work(way, row, offer)
            if reason is None:
                able.append(candidate)
            else:
                excluded.append(Outcome(candidate, "Excluded", reason))
        if able:
            break
        # A model is never refused for what a table says alone: what is left is tried, and the gate judges it.
    wished = [candidate for candidate in able if _is_wished(candidate, wish)]
    survivors = wished or able
    standing_by = [candidate for candidate in able if candidate not in survivors]
    excluded += [Outcome(candidate, "Excluded", _stands_by(wish)) for candidate in standing_by]
    now = [
        replace(candidate, precision="float32")
        for candidate in [*survivors, *standing_by]
        if model.onnx or candidate.model_format == "paddle"
    ]
    return Candidates(tuple(survivors), tuple(excluded), tuple(dict.fromkeys(now)))


def _in_order(row: Row, wish: Wish, accuracy: Accuracy) -> Iterator[_Way]:
    # Plain Paddle is 8 to 14 times behind oneDNN: it comes last wherever the table has it.
    ways = {way.pseudo: way for way in WAYS}
    listed = [ways[pseudo] for pseudo in row.order if pseudo in ways]
    rest = [way for way in WAYS if way not in listed]
    for way in sorted([*listed, *rest], key=lambda way: way.pseudo == "paddle"):
        reduced = replace(way, precision="bfloat16")
        named = wish.precision == "bfloat16" and way.backend == wish.backend
        reducible = way.pseudo in REDUCIBLE and wish.precision != "float32"
        if reducible and named:
            yield reduced
        yield way
        if reducible and not named and accuracy.level == "Task":
            yield reduced


def _is_wished(candidate: Candidate, wish: Wish) -> bool:
    # Float32 of the wished backend is measured beside the reduced precision that is named: the gate may refuse that.
    return wish.backend is None or (
        candidate.backend == wish.backend and wish.run_mode in (None, candidate.option("run_mode"))
    )


def _stands_by(wish: Wish) -> str:
    wanted = " ".join(word for word in (wish.backend, wish.run_mode) if word)
    return f"the settings want {wanted}; this stands by in case that cannot serve, and is not measured"


def _unwished(way: _Way, wish: Wish, *, fallback_allowed: bool) -> str | None:
    if wish.backend is not None and (wish.exactly or not fallback_allowed):
        if way.backend != wish.backend:
            mode = "auto_config is false" if wish.exactly else "falling back is forbidden"
            return f"the settings want {wish.backend}, and {mode}"
        if wish.precision not in (None, way.precision) or wish.run_mode not in (None, way.run_mode):
            wanted = " ".join(word for word in (wish.run_mode, wish.precision) if word)
            return f"the settings want {wanted}"
    return None


def _impossible(way: _Way, model: ModelFacts, wish: Wish, offer: Offer) -> str | None:
    if offer.versions.get(way.backend) is None and not (way.backend == "paddle" and not model.paddle):
        return f"{way.backend} is not installed here: {INSTALL[way.backend]}"
    if way.backend == "paddle":
        if not model.paddle:
            return "the model has no files in Paddle's format"
        if way.run_mode == "mkldnn" and offer.architecture != "x86_64":
            return f"Paddle has oneDNN on x86_64 alone, this is {offer.architecture}"
    elif not model.onnx and not model.convertible:
        return model.no_onnx or "there is no ONNX file"
    elif not model.onnx and not wish.conversion_allowed:
        return "there is no ONNX file, and auto_paddle2onnx is false"
    if way.precision == "bfloat16" and not offer.bfloat16:
        return "these processors do not compute in bfloat16"
    return None


def _known_not_to_work(way: _Way, row: Row, offer: Offer) -> str | None:
    for defect in row.defects:
        if way.pseudo == defect.pseudo_backend and offer.versions.get(way.backend) in defect.versions:
            return f"{defect.reason}; {MANUAL}"
    if way.run_mode == "mkldnn" and "oneDNN" in row.fails_on:
        return f"the knowledge table lists the model among those that oneDNN cannot run; {MANUAL}"
    # Plain Paddle runs every model; the table lacks it in four rows, and it is the last resort there too.
    if row.known and way.pseudo not in row.order and way.pseudo != "paddle":
        return f"the knowledge table leaves it out for this model; {MANUAL}"
    return None
