"""Which ways to run a model are worth trying, in which order, and why the others are not; pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from hpi_agent.profile import AcceleratorClass
from hpi_agent.select.backend_config import BACKEND_DEVICES
from hpi_agent.select.candidate import Candidate
from hpi_agent.select.capability import cannot_compute_in
from hpi_agent.select.decision import Outcome
from hpi_agent.select.gate import Accuracy
from hpi_agent.select.knowledge import Row
from hpi_agent.select.ways import CACHE_CAPACITY, CPU, Way, ways_in_order
from hpi_agent.select.wish import Wish
from hpi_core.formats import Backend, DeviceKind

__all__ = ["CACHE_CAPACITY", "WAYS", "Candidates", "ModelFacts", "Offer", "enumerate_candidates"]

WAYS: Final = CPU
"""The ways of the processors."""

INSTALL: Final[Mapping[tuple[Backend, DeviceKind], str]] = {
    ("onnxruntime", "cpu"): "install onnxruntime",
    ("openvino", "cpu"): "install openvino",
    ("paddle", "cpu"): "hpi-agent install paddle2onnx",
    ("onnxruntime", "gpu"): "install onnxruntime-gpu in place of onnxruntime",
    ("paddle", "gpu"): "install paddlepaddle-gpu in place of paddlepaddle",
    ("tensorrt", "gpu"): "install tensorrt for the CUDA of this driver",
    ("paddle", "npu"): "install paddlepaddle with paddle-custom-npu",
    ("om", "npu"): "install CANN with its Python interface, and source its set_env.sh",
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
    om: bool = False
    """Whether an offline model of Ascend is there."""


@dataclass(frozen=True)
class Offer:
    """What one machine can run."""

    architecture: str | None
    threads: int
    """Whole cores left to the process."""
    versions: Mapping[Backend, str | None]
    """Version of each backend that computes on the processors; None: it is not installed."""
    bfloat16: bool
    """Whether the processors compute in bfloat16; without it that precision is emulated, slower than float32."""
    device: DeviceKind = "cpu"
    """What was asked for."""
    accelerator: AcceleratorClass | None = None
    """The device that was asked for; None: the processors."""
    device_versions: Mapping[Backend, str | None] = field(default_factory=dict)
    """Version of each backend that computes on that device; None: no build of it that does is installed."""

    def version(self, way: Way) -> str | None:
        """Return the version of the backend that computes in a way, None where there is none."""
        return (self.versions if way.device == "cpu" else self.device_versions).get(way.backend)


@dataclass(frozen=True)
class Candidates:
    """What is worth trying."""

    survivors: tuple[Candidate, ...]
    """What is built, judged and measured, in the order of the knowledge table."""
    excluded: tuple[Outcome, ...]
    """Every other way, with the reason."""
    serve_now: tuple[Candidate, ...]
    """Ways that need no judgement and no conversion, in the order to try them: those of the survivors, then those that
    stand by for a wished backend; what is compiled for minutes comes after what is not, processors that stand in come
    last. Float32 serves until the gate has passed anything else, where a runtime has it."""


def enumerate_candidates(
    model: ModelFacts, wish: Wish, row: Row, offer: Offer, accuracy: Accuracy, *, fallback_allowed: bool
) -> Candidates:
    """Return what is worth trying for one model on one machine.

    Automatic mode refuses what prior knowledge says cannot work, and says so; manual mode tries what it is told. A
    backend that the settings name is the only one to be measured as long as it can run the model at all; where falling
    back is allowed the others stand by. Where another device than the processors was asked for, the processors stand in
    when nothing runs the model there, or when the settings name a backend that the device does not have.

    Args:
        model: What the model can be run from.
        wish: What the user asks.
        row: What is known of the model.
        offer: What the machine can run.
        accuracy: `Task` lets reduced precisions be candidates by themselves.
        fallback_allowed: Whether other backends than the wished one may serve, and the processors for another device.
    """
    able: list[Candidate] = []
    excluded: list[Outcome] = []
    for heeds_knowledge in (True, False):
        able, excluded = [], []
        for way in ways_in_order(offer.device, row):
            for precision in way.precisions_for(wish, row, accuracy):
                candidate = way.candidate(precision, wish, offer.threads)
                reason = _unwished(candidate, wish, fallback_allowed=fallback_allowed)
                reason = reason or _impossible(way, candidate, model, wish, offer)
                if heeds_knowledge and not wish.exactly:
                    reason = reason or _known_not_to_work(way, row, offer)
                if reason is None:
                    able.append(candidate)
                else:
                    excluded.append(Outcome(candidate, "Excluded", reason))
        if any(candidate.instead_of is None for candidate in able):
            break
        # A model is never refused for what a table says alone: what is left is tried, and the gate judges it.
    survivors = _measured(able, wish)
    standing_by = [candidate for candidate in able if candidate not in survivors]
    excluded += [Outcome(candidate, "Excluded", _stands_by(candidate, wish)) for candidate in standing_by]
    now = [_unjudged(one, offer) for one in [*survivors, *standing_by] if _is_there(one, model)]
    now.sort(key=lambda candidate: (candidate.instead_of is not None, candidate.is_compiled))
    return Candidates(tuple(survivors), tuple(excluded), tuple(dict.fromkeys(now)))


def _measured(able: list[Candidate], wish: Wish) -> list[Candidate]:
    """Return the candidates to measure, of all that can run the model."""
    here = [candidate for candidate in able if candidate.instead_of is None]
    wished = [candidate for candidate in able if _is_wished(candidate, wish)]
    # The processors count as wished only with a backend that the device does not have: its user has chosen them.
    wished = [one for one in wished if one.instead_of not in (None, *BACKEND_DEVICES[one.backend])] or [
        one for one in wished if one.instead_of is None
    ]
    return (wished if wish.backend is not None else []) or here or able


def _is_wished(candidate: Candidate, wish: Wish) -> bool:
    # Float32 of the wished backend is measured beside the reduced precision that is named: the gate may refuse that.
    return (
        candidate.backend == wish.backend
        and wish.run_mode in (None, candidate.option("run_mode"))
        and wish.execution_provider in (None, candidate.option("execution_provider"))
    )


def _is_there(candidate: Candidate, model: ModelFacts) -> bool:
    """Say whether the file that a candidate is made of is there now."""
    return {"onnx": model.onnx, "paddle": model.paddle, "om": model.om}[candidate.model_format]


def _unjudged(candidate: Candidate, offer: Offer) -> Candidate:
    """Return a candidate in the precision that may serve before the gate has passed it."""
    if candidate.backend == "om":
        return candidate
    if _float32_is_tf32(candidate, offer):
        return replace(candidate, precision="tf32")
    return replace(candidate, precision="float32")


def _float32_is_tf32(candidate: Candidate, offer: Offer) -> bool:
    """Say whether a runtime has no float32 but TF32: ONNX Runtime leaves that setting of TensorRT on."""
    uses_tensorrt = candidate.option("execution_provider") == "tensorrt"
    return uses_tensorrt and cannot_compute_in("tf32", offer.accelerator) is None


def _stands_by(candidate: Candidate, wish: Wish) -> str:
    if candidate.instead_of is not None:
        return f"stands by in case nothing can serve on the {candidate.instead_of}, and is not measured"
    wanted = " ".join(word for word in (wish.backend, wish.run_mode, wish.execution_provider) if word)
    return f"the settings want {wanted}; this stands by in case that cannot serve, and is not measured"


def _unwished(candidate: Candidate, wish: Wish, *, fallback_allowed: bool) -> str | None:
    if candidate.instead_of is not None and not fallback_allowed:
        return f"the processors may not stand in for the {candidate.instead_of}: falling back is forbidden"
    if wish.backend is None or (fallback_allowed and not wish.exactly):
        return None
    if candidate.backend != wish.backend:
        mode = "auto_config is false" if wish.exactly else "falling back is forbidden"
        return f"the settings want {wish.backend}, and {mode}"
    if candidate.instead_of in BACKEND_DEVICES[candidate.backend]:
        return f"the settings want {wish.backend}, which the {candidate.instead_of} has, and auto_config is false"
    asked = (
        (wish.run_mode, candidate.option("run_mode")),
        (wish.execution_provider, candidate.option("execution_provider")),
        (wish.precision, candidate.precision),
    )
    if any(wanted not in (None, given) for wanted, given in asked):
        return f"the settings want {' '.join(str(wanted) for wanted, _ in asked if wanted is not None)}"
    return None


def _impossible(way: Way, candidate: Candidate, model: ModelFacts, wish: Wish, offer: Offer) -> str | None:
    lacks_files = _lacks_files(candidate, model, wish, offer)
    if offer.version(way) is None and not (way.backend == "paddle" and lacks_files):
        where = "here" if way.device == "cpu" else f"for the {way.device} here"
        return f"{way.backend} is not installed {where}: {INSTALL[way.backend, way.device]}"
    if way.uses_tensorrt and offer.device_versions.get("tensorrt") is None:
        return f"TensorRT is not installed here: {INSTALL['tensorrt', 'gpu']}"
    if lacks_files is not None:
        return lacks_files
    if way.run_mode == "mkldnn" and offer.architecture != "x86_64":
        return f"Paddle has oneDNN on x86_64 alone, this is {offer.architecture}"
    if way.device == "cpu":
        if candidate.precision == "bfloat16" and not offer.bfloat16:
            return "these processors do not compute in bfloat16"
        return None
    if candidate.precision == "float32" and _float32_is_tf32(candidate, offer):
        return "ONNX Runtime computes float32 with TensorRT in TF32 on this GPU; the backend tensorrt has both"
    return cannot_compute_in(candidate.precision, offer.accelerator)


def _lacks_files(candidate: Candidate, model: ModelFacts, wish: Wish, offer: Offer) -> str | None:
    if candidate.model_format == "paddle":
        return None if model.paddle else "the model has no files in Paddle's format"
    if candidate.model_format == "om":
        return None if model.om else _no_om(offer.accelerator)
    if not model.onnx and not model.convertible:
        return model.no_onnx or "there is no ONNX file"
    if not model.onnx and not wish.conversion_allowed:
        return "there is no ONNX file, and auto_paddle2onnx is false"
    return None


def _no_om(accelerator: AcceleratorClass | None) -> str:
    chip = None if accelerator is None else accelerator.chip
    return (
        "the model directory has no inference.om; make one of the ONNX file with CANN, for this chip and one shape: "
        f"atc --framework=5 --model=inference.onnx --output=inference --soc_version={chip or '<chip>'} "
        "--input_shape='<input>:<shape>'"
    )


def _known_not_to_work(way: Way, row: Row, offer: Offer) -> str | None:
    for defect in row.defects:
        if way.pseudo == defect.pseudo_backend and offer.version(way) in defect.versions:
            return f"{defect.reason}; {MANUAL}"
    if way.run_mode == "mkldnn" and "oneDNN" in row.fails_on:
        return f"the knowledge table lists the model among those that oneDNN cannot run; {MANUAL}"
    if way.uses_tensorrt and "TensorRT" in row.fails_on:
        return f"the knowledge table lists the model among those that TensorRT cannot run; {MANUAL}"
    if way.instead_of is not None:
        # The row is that of another device.
        return None
    if way.pseudo in row.fails_with:
        where = f"{way.backend} cannot run on the {way.device}"
        return f"the knowledge table lists the model among those that {where}; {MANUAL}"
    # Plain Paddle runs every model; the table lacks it in four rows, and it is the last resort there too.
    if row.known and way.pseudo != "paddle" and not way.is_listed(row):
        return f"the knowledge table leaves it out for this model; {MANUAL}"
    return None
