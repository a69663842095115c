"""Build, judge and measure the candidates of one model, choose, and remember the choice.

    for each candidate     build it into the store · load it from there in a fresh process · compare its answers
    all that passed        take turns, round by round, over the same samples
    the choice             decisions/<key>.json, replaced by rename

Every candidate lives in a process of its own with limits on time and memory; whatever it does, the others go on and the
decision says what became of it.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from math import isfinite
from pathlib import Path
from typing import Any, Final

from numpy.typing import NDArray

from hpi_agent.building.choice import find_decision
from hpi_agent.building.measurement import USUAL_PACE, Measured, Measurement, Pace
from hpi_agent.building.placement import BUILT_FILE
from hpi_agent.building.progress import ModelProgress
from hpi_agent.building.resolution import Resolution
from hpi_agent.building.trial import Bounds, Trial
from hpi_agent.samples.gather import SampleSet, gather
from hpi_agent.select.answers import TaskFamily, count_answers
from hpi_agent.select.candidate import Candidate
from hpi_agent.select.decision import Decision, Gate, Outcome, Verdict
from hpi_agent.select.gate import judge, tolerance_of
from hpi_agent.select.timing import choose, slower_reason
from hpi_core.errors import EngineFailed, HpiError, Stop
from hpi_core.moments import stamp

ENGINE_FILE: Final = "engine.json"
"""The file that says what an engine is; the only one of an engine that needs no building."""

Answers = list[dict[str, NDArray[Any]]]


@dataclass
class Reference:
    """Who gives the answers that count, and the answers."""

    name: str
    trial: Trial
    answers: Answers


@dataclass
class Builder:
    """Decides for one model.

    Attributes:
        resolution: What is to be decided, with its files ready: an ONNX file where one is needed.
        bounds: What one candidate may use.
        progress: Where steps are told.
        deadline: Seconds of `time.monotonic` after which no new step of measuring begins.
        pace: How long to measure.
        chosen_before: Key of the engine that another pod of the same resolution chose last on busy cores, or None.
    """

    resolution: Resolution
    bounds: Bounds
    progress: ModelProgress
    deadline: float
    pace: Pace = USUAL_PACE
    chosen_before: str | None = None
    _outcomes: dict[Candidate, Outcome] = field(default_factory=dict)

    def decide(self) -> Decision:
        """Build, judge, measure and choose; nothing is written but engines.

        Raises:
            HpiError: There are no samples, or the reference itself fails: nothing could be judged.
        """
        began = time.monotonic()
        resolution = self.resolution
        survivors = resolution.candidates.survivors
        self.progress.candidates = len(survivors)
        self.progress.measuring_seconds = self.pace.seconds if survivors else 0.0
        measured = Measured({}, None)
        with ExitStack() as stack:
            reference, samples = self._reference(stack)
            passed = []
            for candidate in survivors:
                started = time.monotonic()
                trial = self._prepare(stack, candidate, reference, samples)
                self.progress.prepared(time.monotonic() - started)
                if trial is not None:
                    passed.append(trial)
            gate = self._gate(reference, samples)
            reference.trial.close()
            if passed:
                measured = Measurement(self.progress, self.deadline, self.pace).run(passed)
        outcomes = self._choose(measured)
        chosen = next((outcome.engine_key for outcome in outcomes if outcome.verdict == "Chosen"), None)
        earlier, provisional = find_decision(resolution), measured.provisional
        here = None if earlier is None else earlier.provisional_key
        if provisional is not None and is_chosen_again(outcomes, here, self.chosen_before):
            provisional, outcomes = None, tuple(map(_as_chosen_twice, outcomes))
        return Decision(
            resolution=resolution.document,
            outcomes=outcomes,
            gate=gate,
            provisional=provisional,
            decided_at=stamp(datetime.now(timezone.utc)),
            build_seconds=time.monotonic() - began,
            verified_on_drivers=resolution.verified_on_drivers(earlier, chosen),
        )

    def _reference(self, stack: ExitStack) -> tuple[Reference, SampleSet]:
        """Return the first reference that answers every sample; its name tells what happened to those before it.

        Raises:
            EngineFailed: There is none; the model cannot be judged.
            Refused: The samples do not fit the model.
        """
        references = self.resolution.references
        failed: list[str] = []
        for reference in references:
            self.progress.step("reference", reference.name)
            try:
                trial = stack.enter_context(self._trial(reference))
                trial.load(self.resolution.site.store.root, None)
                samples = self._samples(trial)
                answers = [trial.answer(index) for index in range(len(samples.samples))]
            except EngineFailed as error:
                if reference is references[-1]:
                    raise
                failed.append(f" ({reference.name} cannot be the reference: {error})")
            else:
                name = self.resolution.reference_name(reference) + "".join(failed)
                return Reference(name, trial, answers), samples
        raise EngineFailed(
            f"nothing can answer for model {self.resolution.model.name!r} what others are judged by: "
            f"{self.resolution.files.no_onnx}"
        )

    def _samples(self, trial: Trial) -> SampleSet:
        """Return the samples of the model, kept by a trial; what the trial has loaded says which inputs there are."""
        self.progress.step("samples")
        inputs = replace(self.resolution.inputs, specs=trial.inputs)
        samples = gather(
            inputs,
            folder=self.resolution.site.samples,
            only_model=self.resolution.use.alone,
            wished=dict(self.resolution.wish.shapes or ()),
        )
        for sample in samples.samples:
            trial.keep(sample.feeds)
        return samples

    @contextmanager
    def _trial(self, candidate: Candidate) -> Iterator[Trial]:
        resolution = self.resolution
        path, interpreter = resolution.model_path(candidate), resolution.site.interpreter_of(candidate)
        trial = Trial.start(candidate, path, interpreter, self.bounds, resolution.placement(candidate))
        try:
            yield trial
        finally:
            trial.close()

    def _prepare(
        self, stack: ExitStack, candidate: Candidate, reference: Reference, samples: SampleSet
    ) -> Trial | None:
        """Return a candidate that is loaded and has passed the gate, or None; its outcome says why not."""
        key = self.resolution.engine_key(candidate)
        is_new = True
        try:
            is_new = self._publish(candidate, key)
            self.progress.candidate(candidate.name, "load")
            trial = stack.enter_context(self._trial(candidate))
            trial.load(self.resolution.site.store.root, key if candidate.has_built_form else None)
            for sample in samples.samples:
                trial.keep(sample.feeds)
            self.progress.candidate(candidate.name, "judge")
            return self._judge(trial, key, reference, samples)
        except HpiError as error:
            if type(error) is Stop:
                # The store is full or broken: no fault of the candidate, and nothing to be remembered of it.
                raise
            reason = f"{error}{'' if is_new else self._older(candidate)}"
            self._outcomes[candidate] = Outcome(candidate, "Failed", reason, key)
            self.progress.candidate(candidate.name, "failed", reason)
            return None

    def _older(self, candidate: Candidate) -> str:
        """Return what to do where an engine of the store may have been built under another driver."""
        match = self.resolution.granularity.driver_match
        if candidate.device == "cpu" or match == "Exact":
            return ""
        return (
            f"; it was in the store before, and build.driverMatch {match} takes it from other drivers: set driverMatch "
            "to Exact, and it is built for this one"
        )

    def _publish(self, candidate: Candidate, key: str) -> bool:
        """Put the engine into the store unless a sound one is there; return whether it was made now."""
        store = self.resolution.site.store
        document = self.resolution.engine_document(candidate)
        timing_cache = self.resolution.timing_cache(candidate)
        made = False

        def write(directory: Path) -> None:
            nonlocal made
            made = True
            self.progress.candidate(candidate.name, "build")
            if timing_cache is not None:
                timing_cache.parent.mkdir(parents=True, exist_ok=True)
            with self._trial(candidate) as trial:
                built = trial.build(timing_cache)
            (directory / ENGINE_FILE).write_text(json.dumps(document, indent=1), encoding="utf-8")
            if built is not None:
                (directory / BUILT_FILE).write_bytes(built)

        about = {"model": self.resolution.model.name, "engine": candidate.name, "key": document}
        store.publish("engines", key, write, about=about)
        return made

    def _judge(self, trial: Trial, key: str, reference: Reference, samples: SampleSet) -> Trial | None:
        answers = [trial.answer(index) for index in range(len(samples.samples))]
        judgement = judge(
            trial.candidate.precision,
            self.resolution.accuracy,
            answers,
            reference.answers,
            _gated_family(samples),
            self.resolution.settings,
        )
        self._outcomes[trial.candidate] = Outcome(
            trial.candidate,
            "Slower" if judgement.passed else "OutOfTolerance",
            judgement.reason,
            key,
            judgement.largest_difference if isfinite(judgement.largest_difference) else None,
            judgement.task,
        )
        step = "passed" if judgement.passed else "failed"
        self.progress.candidate(trial.candidate.name, step, judgement.reason)
        return trial if judgement.passed else None

    def _gate(self, reference: Reference, samples: SampleSet) -> Gate:
        family, settings = _gated_family(samples), self.resolution.settings
        count = 0 if family is None else sum(count_answers(family, answer, settings) for answer in reference.answers)
        tolerance = tolerance_of("float32", self.resolution.accuracy)
        return Gate(reference.name, samples.origin, len(samples.samples), count, tolerance or 0.0)

    def _choose(self, measured: Measured) -> tuple[Outcome, ...]:
        """Return the outcome of every candidate, survivors first in their order."""
        for candidate, reason in measured.failed.items():
            self._outcomes[candidate] = replace(self._outcomes[candidate], verdict="Failed", reason=reason)
        # In the order of the knowledge table, which decides between candidates that noise alone tells apart.
        survivors = self.resolution.candidates.survivors
        timings = {candidate: measured.timings[candidate] for candidate in survivors if candidate in measured.timings}
        if timings:
            chosen, reason = choose(timings)
            for candidate, timing in timings.items():
                outcome = self._outcomes[candidate]
                why = measured.dropped.get(candidate) or slower_reason(timing, timings[chosen])
                verdict: Verdict = "Chosen" if candidate == chosen else "Slower"
                self._outcomes[candidate] = replace(
                    outcome, verdict=verdict, reason=reason if candidate == chosen else why, timing=timing
                )
        tried = tuple(self._outcomes[candidate] for candidate in survivors if candidate in self._outcomes)
        return (*tried, *self.resolution.candidates.excluded)


def _gated_family(samples: SampleSet) -> TaskFamily | None:
    # Noise has no texts, boxes or classes: an answer to it says nothing about a task.
    return None if samples.origin == "noise" else samples.family


def is_chosen_again(outcomes: Sequence[Outcome], *before: str | None) -> bool:
    """Return whether the chosen engine is one that was chosen before under load, here or by another pod; pure.

    Candidates take turns, so load slows all of them down alike: what wins twice on cores that are never quiet is the
    choice there. Without this, nodes that are always busy would measure for ever and share nothing. The key of an
    engine names its backend, precision, device and settings too.

    Args:
        outcomes: Of the choice that was just made.
        before: Keys of engines that were chosen before; None: nothing was.
    """
    return any(one.verdict == "Chosen" and one.engine_key is not None and one.engine_key in before for one in outcomes)


def _as_chosen_twice(outcome: Outcome) -> Outcome:
    if outcome.verdict != "Chosen":
        return outcome
    return replace(outcome, reason=f"{outcome.reason}; chosen twice in a row on busy cores")
