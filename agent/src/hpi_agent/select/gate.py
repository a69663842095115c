"""The accuracy gate: does a candidate answer as the reference does; pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from hpi_agent.select.answers import Settings, TaskFamily, agreement, count_answers
from hpi_agent.select.decision import TaskVerdict
from hpi_core.formats import Precision

Level = Literal["Auto", "Numeric", "Task"]

TOLERANCES: Final[Mapping[Precision, float]] = {"float32": 1e-4, "tf32": 2e-3}
"""Largest difference by precision. 1e-4 separates every float32 backend from every bfloat16 one on six models (largest
float32 difference 4e-5, smallest of bfloat16 7e-4); TF32 has 10 bits of mantissa, 2e-3 is two units of the last. A
precision that is not here can pass by Task alone."""

AMPLIFIED: Final = 10.0
"""How many times its tolerance the numbers of float32 may differ in Auto where every answer agrees.

A model can amplify rounding: on a processor with AVX2 alone the PP-OCRv6 recogniser, a softmax over 18,710 classes, is
3.1e-4 (ONNX Runtime) and 4.2e-4 (OpenVINO) from the reference on one sample of seven, with all 30 texts equal; at 1e-4
nothing could serve it there. bfloat16 differs by 0.07."""

Outputs = Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class Accuracy:
    """What is asked of a candidate's answers."""

    level: Level = "Auto"
    tolerance: float | None = None
    """Largest difference; None: that of the precision. A reduced precision has none of its own: the one given here
    counts for it only where the numbers alone are asked for."""
    minimum_samples: int = 20
    """Texts, boxes or classes that the reference must answer before Task can pass anything."""


@dataclass(frozen=True)
class Judgement:
    """What the gate says of one candidate."""

    passed: bool
    reason: str
    largest_difference: float
    """Infinity when the answers cannot be compared at all."""
    task: TaskVerdict


def tolerance_of(precision: Precision, accuracy: Accuracy) -> float | None:
    """Return the largest difference that a precision may show, or None: only Task can pass it."""
    if accuracy.tolerance is not None and (precision in TOLERANCES or accuracy.level == "Numeric"):
        return accuracy.tolerance
    return TOLERANCES.get(precision)


def incomparable(answers: Sequence[Outputs], references: Sequence[Outputs]) -> str | None:
    """Return why answers cannot be compared with the reference's, or None: the first thing that is wrong."""
    if len(answers) != len(references):
        return f"{len(answers)} samples were answered, the reference answers {len(references)}"
    for index, (answer, reference) in enumerate(zip(answers, references, strict=True)):
        where = f"sample {index + 1}"
        if answer.keys() != reference.keys():
            return f"{where}: the outputs are {sorted(answer)}, the reference's {sorted(reference)}"
        for name, wanted in reference.items():
            got = answer[name]
            if got.shape != wanted.shape:
                return f"{where}: output {name!r} has shape {got.shape}, the reference's {wanted.shape}"
            if got.dtype != wanted.dtype:
                return f"{where}: output {name!r} has dtype {got.dtype}, the reference's {wanted.dtype}"
            if not _is_finite(wanted):
                return f"{where}: the reference itself answers NaN or infinity in {name!r}, nothing can be judged on it"
            if not _is_finite(got):
                return f"{where}: output {name!r} holds NaN or infinity"
    return None


def _is_finite(array: NDArray[Any]) -> bool:
    return not np.issubdtype(array.dtype, np.inexact) or bool(np.isfinite(array).all())


def difference(answer: NDArray[Any], reference: NDArray[Any]) -> float:
    """Return max |answer - reference| / max |reference| of one output tensor.

    Element-wise relative differences mean nothing where the reference is near zero: they reach 1e23 on a real detector.

    Returns:
        0 for equal tensors, also of zeros alone; infinity for other shapes or types, for NaN or infinity on either
        side, for integers that differ, and for anything but zeros where the reference is zeros alone.
    """
    if answer.shape != reference.shape or answer.dtype != reference.dtype:
        return float("inf")
    if not (_is_finite(answer) and _is_finite(reference)):
        return float("inf")
    if np.array_equal(answer, reference):
        return 0.0
    if not np.issubdtype(reference.dtype, np.floating):
        return float("inf")
    wide_answer, wide_reference = answer.astype(np.float64), reference.astype(np.float64)
    largest = float(np.abs(wide_reference).max())
    if largest == 0.0:
        return float("inf")
    return float(np.abs(wide_answer - wide_reference).max()) / largest


def largest_difference(answers: Sequence[Outputs], references: Sequence[Outputs]) -> float:
    """Return the worst difference over all samples and outputs; infinity when samples or outputs do not match."""
    if len(answers) != len(references):
        return float("inf")
    worst = 0.0
    for answer, reference in zip(answers, references, strict=True):
        if answer.keys() != reference.keys():
            return float("inf")
        worst = max([worst, *(difference(answer[name], reference[name]) for name in reference)])
    return worst


def judge(
    precision: Precision,
    accuracy: Accuracy,
    answers: Sequence[Outputs],
    references: Sequence[Outputs],
    family: TaskFamily | None,
    settings: Settings,
) -> Judgement:
    """Return whether a candidate may serve.

    Auto judges float32 and TF32 by their numbers and any other precision by the family's answers. Float32 a little
    beyond its tolerance (`AMPLIFIED`) passes where every answer agrees, unless the tolerance was given. Within it the
    answers decide nothing: there a text differs only where the model itself is undecided.

    Args:
        precision: What the candidate computes in.
        accuracy: What is asked.
        answers: The candidate's outputs, one mapping per sample.
        references: The reference's outputs on the same samples.
        family: Whose own answers are compared; None, or samples of noise, leave only the numbers.
        settings: The post-processing of the family.
    """
    refusal = incomparable(answers, references)
    if refusal is not None:
        return Judgement(False, refusal, float("inf"), "NotNeeded" if accuracy.level == "Numeric" else "Ungated")
    worst = largest_difference(answers, references)
    tolerance = tolerance_of(precision, accuracy)
    task, words = _judge_task(answers, references, family, settings, accuracy.minimum_samples)
    numeric = tolerance is not None and worst <= tolerance
    said = f"largest difference {worst:.1e}" + ("" if tolerance is None else f", {tolerance:.1e} allowed")
    if accuracy.level == "Numeric":
        if tolerance is None:
            return Judgement(False, f"{said}; {precision} cannot pass by numbers alone", worst, "NotNeeded")
        return Judgement(numeric, said, worst, "NotNeeded")
    if accuracy.level == "Task" or tolerance is None:
        if task == "Ungated":
            # Without an answer to compare, only numbers as close as float32's can pass.
            return Judgement(numeric, f"{said}; {words}{_way_out(precision, tolerance)}", worst, task)
        return Judgement(task == "Agreed", f"{said}; {words}", worst, task)
    may = precision == "float32" and accuracy.tolerance is None and task == "Agreed"
    if may and not numeric and worst <= AMPLIFIED * tolerance:
        return Judgement(True, f"{said}, {AMPLIFIED:.0f} times that where answers agree; {words}", worst, task)
    return Judgement(numeric, f"{said}; {words}", worst, task)


def _way_out(precision: Precision, tolerance: float | None) -> str:
    if tolerance is not None:
        return ""
    return f"; {precision} passes by numbers where accuracy.level is Numeric and a tolerance is given"


def _judge_task(
    answers: Sequence[Outputs],
    references: Sequence[Outputs],
    family: TaskFamily | None,
    settings: Settings,
    minimum: int,
) -> tuple[TaskVerdict, str]:
    if family is None:
        return "Ungated", "no task's answers to compare"
    count = sum(count_answers(family, reference, settings) for reference in references)
    if count < minimum:
        return "Ungated", f"the reference answers {count} times, fewer than the {minimum} that are asked for"
    differing = agreement(family, answers, references, settings)
    if differing:
        return "Differed", f"{len(differing)} of {count} answers differ: {'; '.join(differing[:3])}"
    return "Agreed", f"all {count} answers agree"
