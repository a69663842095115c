"""What was asked and could not be honoured as asked, one sentence each."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from hpi_operator.plan.conditions import shortened
from hpi_operator.plan.findings import Findings
from hpi_operator.plan.observed import ObservedPipeline
from hpi_operator.plan.ownership import is_owned

MAX_NOTES: Final = 8
MAX_NOTE_CHARACTERS: Final = 256


def notes(observed: ObservedPipeline, findings: Findings) -> list[str]:
    """Return the notes of a status, each once, in one order."""
    return list(dict.fromkeys(shortened(one, MAX_NOTE_CHARACTERS) for one in _notes(observed, findings)))[:MAX_NOTES]


def _notes(observed: ObservedPipeline, findings: Findings) -> Iterator[str]:
    for plan in findings.classes:
        chosen = plan.chosen
        if chosen.runtime is None:
            yield f"HPIRuntime {chosen.name} has gone; its pods go on, and no new node takes them"
        elif chosen.runtime.spec.state == "Withdrawn":
            yield f"HPIRuntime {chosen.name} is withdrawn; set spec.runtime to move to another"
    if findings.placing is not None:
        yield from findings.placing.unused
    yield from _autoscaling(observed)


def _autoscaling(observed: ObservedPipeline) -> Iterator[str]:
    spec = observed.pipeline.spec
    if spec.autoscaling is None:
        return
    by_cpu = any(target.metric == "CPUUtilizationPercent" for target in spec.autoscaling.targets)
    if by_cpu and "cpu" not in spec.pod_template.resources.requests:
        yield "autoscaling by CPUUtilizationPercent needs spec.podTemplate.resources.requests.cpu: it scales nothing"
    for key, live in observed.children.items():
        if key.kind != "HorizontalPodAutoscaler" or not is_owned(live, observed.uid):
            continue
        for one in (live.get("status") or {}).get("conditions") or ():
            if one["type"] in ("AbleToScale", "ScalingActive") and one["status"] == "False":
                yield f"{key.kind} {key.name}: {one.get('reason', '')}: {one.get('message', '')}"
