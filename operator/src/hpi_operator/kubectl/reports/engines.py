"""HPIEngines: what was asked of one, what was chosen, and what every other candidate came to."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from hpi_core import reasons
from hpi_operator.kubectl.reports.base import Failure, Report
from hpi_operator.kubectl.reports.documents import Document, conditions, failure, listed, name_of, part

REJECTED: Final = ("OutOfTolerance", "Failed", "Excluded")
"""Verdicts of candidates that cannot serve; every other one could."""
CHOSEN: Final = "Chosen"


class Candidate(Report):
    """One way to run a model, and what became of it."""

    name: str
    """How people call it."""
    backend: str
    """Name of the backend."""
    precision: str
    """Precision of the arithmetic."""
    p50_microseconds: int | None = None
    """Median time of one inference. Absent: it was not measured. Unit: microseconds."""
    p99_microseconds: int | None = None
    """The 99th percentile. Unit: microseconds."""
    memory_bytes: int | None = None
    """Main memory. Unit: bytes."""
    device_memory_bytes: int | None = None
    """Memory of the accelerator. Unit: bytes."""
    largest_difference_parts_per_million: int | None = None
    """Largest difference from the reference. Unit: parts per million."""
    verdict: str
    """`Chosen`, `Slower`, `OutOfTolerance`, `Failed`, `Excluded`, or a word of a newer agent."""
    reason: str = ""
    """Why."""


class EngineLine(Report):
    """One HPIEngine in short."""

    name: str
    """Its name."""
    model: str = ""
    """PaddleX's name of the model. Empty: the HPIEngine is gone, or could not be read."""
    state: str
    """`Measured`, `Provisional`, `Building`, `Failed`, `Undecided`, `Gone`."""
    asked: str = ""
    """The backend that was asked for. Empty: the best."""
    chosen: str = ""
    """Name of the candidate that serves."""
    backend: str = ""
    """Its backend."""
    precision: str = ""
    """Its precision."""
    p50_microseconds: int | None = None
    """Median time of one inference. Unit: microseconds."""
    p99_microseconds: int | None = None
    """The 99th percentile. Unit: microseconds."""
    reason: str = ""
    """Why it was chosen, or what failed."""


class EngineChoice(Report):
    """One HPIEngine with all its candidates."""

    engine: EngineLine
    """In short."""
    hardware: str = ""
    """The class of hardware, in words."""
    runtime: str = ""
    """The HPIRuntime that it is made with."""
    fallback: str = ""
    """Whether another engine than the first choice may serve."""
    mode: str = ""
    """What is measured: `Latency` or `Throughput`."""
    reference: str = ""
    """Who gave the answers that count."""
    accuracy: str = ""
    """What is asked of a candidate's answers, in words."""
    artifact_bytes: int | None = None
    """Size of the built form. Absent: it loads from the model's own files. Unit: bytes."""
    build_seconds: int | None = None
    """How long the last complete build took. Unit: seconds."""
    attempts: int = 0
    """Builds begun so far."""
    holder: str = ""
    """Node whose agent builds, or built last."""
    verified_on_drivers: tuple[str, ...] = ()
    """Drivers under which it gave the right answers."""
    candidates: tuple[Candidate, ...] = ()
    """The chosen one, then those that could serve, the fastest first, then those that could not."""
    next_best: str | None = None
    """The candidate that would serve if the chosen one could not. Absent: there is none, or it was not measured."""
    next_best_slowdown_percent: int | None = None
    """How much more time that one takes. Unit: percent."""
    last_failure: Failure | None = None
    """The last failure of a build."""


def engine_line(name: str, engine: Document | None) -> EngineLine:
    """Return one HPIEngine in short; None: it is not there, or could not be read."""
    if engine is None:
        return EngineLine(name=name, state="Gone", reason="the HPIEngine is gone, or could not be read")
    spec, status = part(engine, "spec"), part(engine, "status")
    chosen: Document = next(
        (one for one in listed(status, "candidates") if one.get("name") == status.get("chosen")), {}
    )
    failed = failure(part(status, "lastFailure"))
    word = engine_state(engine)
    told = str(chosen.get("reason") or "")
    if word == "Failed" and failed is not None:
        told = f"{failed.reason}: {failed.message}"
    return EngineLine(
        name=name,
        model=str(spec.get("modelName") or ""),
        state=word,
        asked=str(part(spec, "request").get("backend") or ""),
        chosen=str(status.get("chosen") or ""),
        backend=str(chosen.get("backend") or ""),
        precision=str(chosen.get("precision") or ""),
        p50_microseconds=chosen.get("p50Microseconds"),
        p99_microseconds=chosen.get("p99Microseconds"),
        reason=told,
    )


def engine_state(engine: Document) -> str:
    """Return where an HPIEngine stands, in one word."""
    status = part(engine, "status")
    if status.get("chosen"):
        return str(status.get("quality") or "Measured")
    ready = conditions(engine).get(reasons.READY)
    if ready is not None and ready.reason == "Building":
        return "Building"
    return "Failed" if part(status, "lastFailure") else "Undecided"


def engine_choice(engine: Document) -> EngineChoice:
    """Return one HPIEngine with all its candidates."""
    spec, status = part(engine, "spec"), part(engine, "status")
    candidates = tuple(sorted((_candidate(one) for one in listed(status, "candidates")), key=_rank))
    following = next_best(candidates)
    return EngineChoice(
        engine=engine_line(name_of(engine), engine),
        hardware=hardware_words(part(spec, "hardwareClass")),
        runtime=str(part(spec, "runtime").get("name") or ""),
        fallback=str(spec.get("fallback") or ""),
        mode=str(spec.get("mode") or ""),
        reference=str(status.get("reference") or ""),
        accuracy=_accuracy(part(spec, "accuracy")),
        artifact_bytes=part(status, "artifact").get("bytes"),
        build_seconds=status.get("buildSeconds"),
        attempts=int(status.get("attempts") or 0),
        holder=str(status.get("holder") or ""),
        verified_on_drivers=tuple(str(one) for one in status.get("verifiedOnDrivers") or ()),
        candidates=candidates,
        next_best=None if following is None else following.name,
        next_best_slowdown_percent=_slowdown_percent(candidates, following),
        last_failure=failure(part(status, "lastFailure")),
    )


def next_best(candidates: Iterable[Candidate]) -> Candidate | None:
    """Return the fastest candidate that could serve beside the chosen one."""
    able = [one for one in candidates if one.verdict not in (*REJECTED, CHOSEN) and one.p50_microseconds is not None]
    return min(able, key=_rank, default=None)


def _slowdown_percent(candidates: Iterable[Candidate], following: Candidate | None) -> int | None:
    chosen = next((one.p50_microseconds for one in candidates if one.verdict == CHOSEN), None)
    if not chosen or following is None or following.p50_microseconds is None:
        return None
    return round(100 * (following.p50_microseconds - chosen) / chosen)


def _candidate(written: Document) -> Candidate:
    def number(name: str) -> Any:
        return written.get(name)

    return Candidate(
        name=str(written.get("name", "")),
        backend=str(written.get("backend", "")),
        precision=str(written.get("precision", "")),
        p50_microseconds=number("p50Microseconds"),
        p99_microseconds=number("p99Microseconds"),
        memory_bytes=number("memoryBytes"),
        device_memory_bytes=number("deviceMemoryBytes"),
        largest_difference_parts_per_million=number("largestDifferencePartsPerMillion"),
        verdict=str(written.get("verdict", "")),
        reason=str(written.get("reason") or ""),
    )


def _rank(one: Candidate) -> tuple[int, bool, int, str]:
    place = 0 if one.verdict == CHOSEN else 2 if one.verdict in REJECTED else 1
    return place, one.p50_microseconds is None, one.p50_microseconds or 0, one.name


def _accuracy(gate: Document) -> str:
    if not gate:
        return ""
    tolerance = gate.get("tolerancePartsPerMillion")
    bound = "" if tolerance is None else f", at most {tolerance} ppm off"
    return f"{gate.get('level', '')}, at least {gate.get('minimumSamples', '?')} samples{bound}"


def hardware_words(hardware: Document) -> str:
    """Return a class of hardware in words: `NVIDIA A100, 8.0, driver 550.54 (x86_64, 8 threads)`."""
    if not hardware:
        return ""
    device = part(hardware, "accelerator")
    host = [str(hardware[name]) for name in ("architecture", "isaLevel") if hardware.get(name)]
    host.append(f"{hardware.get('threads', '?')} threads")
    if not device:
        return f"{hardware.get('device', '')}: {', '.join([str(hardware.get('vendor') or ''), *host]).lstrip(', ')}"
    product = str(device.get("product") or device.get("chip") or device.get("vendor") or "")
    words = [product + (f" slice {device['slice']}" if device.get("slice") else "")]
    words += [str(device[name]) for name in ("computeCapability",) if device.get(name)]
    words += [f"{device['memoryGibibytes']} GiB"] if device.get("memoryGibibytes") is not None else []
    words += [f"driver {device['driver']}"] if device.get("driver") else []
    return f"{hardware.get('device', '')}: {', '.join(words)} ({', '.join(host)})"
