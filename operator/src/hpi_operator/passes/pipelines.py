"""The pass of one pipeline."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from hpi_core import reasons
from hpi_core.errors import HpiError
from hpi_operator.act.events import Subject
from hpi_operator.act.perform import Stated, says_otherwise
from hpi_operator.kube.errors import Forbidden
from hpi_operator.kube.resources import PIPELINES
from hpi_operator.kube.written import Written
from hpi_operator.logs import learned
from hpi_operator.observe.pictures import Lack
from hpi_operator.observe.pipelines import ReadPipeline, observe_pipeline, read_pipeline
from hpi_operator.observe.world import EVERY
from hpi_operator.passes.base import LASTING_GAP_SECONDS, Ended, Tools, postponed
from hpi_operator.passes.queue import Key
from hpi_operator.passes.statuses import spelled
from hpi_operator.plan.amended_status import unreadable, unseen
from hpi_operator.plan.intent import Event, Manifest, Plan, Refusal
from hpi_operator.plan.observed import ObservedPipeline
from hpi_operator.plan.pipeline import plan_pipeline

STATUS_SECONDS: Final = 1.0
"""A status in which nothing but counts has changed is written at most this often."""

REFERENCES_SECONDS: Final = 60.0
"""How often what a spec names is looked at: nobody watches the ConfigMaps and Secrets of a whole cluster for a few."""
MISSING_SECONDS: Final = (1.0, 30.0)
"""How often something that is missing is looked for: as long again as it has been missing, within these bounds."""
REFUSED_SECONDS: Final = (5.0, 600.0)
"""The same for an object that could not be written: each try is a write."""


@dataclass
class _Outcome:
    """What came of a pass so far."""

    written: list[Written] = field(default_factory=list)
    refusals: list[Refusal] = field(default_factory=list)
    events: int = 0

    def add(self, stated: Stated) -> None:
        self.written += stated.written
        self.refusals += stated.refusals

    def ended(self, look_again_seconds: float | None) -> Ended:
        return Ended(
            tuple(self.written),
            look_again_seconds,
            tuple(one.reason for one in self.refusals),
            len(self.written) + self.events,
        )


def pass_pipeline(tools: Tools, key: Key) -> Ended:
    """Look at a pipeline, decide, and make it so."""
    pictures = tools.world.pictures
    lack = pictures.lack(pictures.for_pipelines)
    if lack is not None and not lack.is_lasting:
        return postponed(lack)
    stored = read_pipeline(tools.world, key.namespace, key.name)
    if stored is None:
        return _gone(tools, key)
    learned(generation=stored.generation)
    subject = Subject(PIPELINES.key(key.name, key.namespace), stored.uid)
    try:
        if stored.parsed is None:
            return _unreadable(tools, subject, stored)
        if lack is not None:
            return _unseen(tools, subject, stored, lack)
        observed = observe_pipeline(tools.world, stored.live, stored.parsed, tools.now(), tools.settings)
        return _decide(tools, key, subject, observed, stored.live.get("status"))
    except Forbidden as error:
        # Where not even the status can be written, an event and the log are what is left.
        tools.performer.tell(subject, [Event("PermissionMissing", str(error), "Warning")])
        raise


def _gone(tools: Tools, key: Key) -> Ended:
    name = (key.namespace, key.name)
    tools.world.supply.forget(name)
    if tools.ledger.forget(name):
        tools.queue.put(Key("Engines", key.namespace, EVERY))
        tools.queue.put(Key("HPIRuntime", "", EVERY))
    return Ended()


def _unreadable(tools: Tools, subject: Subject, stored: ReadPipeline) -> Ended:
    """Say that this release cannot read the object; what is there goes on serving."""
    types = (reasons.ACCEPTED, reasons.READY)
    before = stored.live.get("status")
    status = unreadable(before, stored.problems, types, stored.generation, tools.now())
    return _only_status(tools, subject, before, status, Event("InvalidSpec", "; ".join(stored.problems), "Warning"))


def _unseen(tools: Tools, subject: Subject, stored: ReadPipeline, lack: Lack) -> Ended:
    """Say what the operator does not see, and change nothing else."""
    before = stored.live.get("status")
    status = unseen(
        before, lack.message, is_permission=lack.is_permission, generation=stored.generation, now=tools.now()
    )
    reason = "PermissionMissing" if lack.is_permission else "WorldIncomplete"
    ended = _only_status(tools, subject, before, status, Event(reason, lack.message, "Warning"))
    return replace(ended, look_again_seconds=LASTING_GAP_SECONDS)


def _only_status(tools: Tools, subject: Subject, before: Manifest | None, status: Manifest, event: Event) -> Ended:
    written = tools.performer.report(subject, before, status)
    if written is None:
        return Ended()
    return Ended((written,), writes=1 + tools.performer.tell(subject, [event]))


def _decide(tools: Tools, key: Key, subject: Subject, observed: ObservedPipeline, status: Manifest | None) -> Ended:
    plan = plan_pipeline(observed, tools.classes)
    outcome = _Outcome()
    hidden = tools.world.pictures.hidden()
    first, rest = _in_stages(plan, observed)
    outcome.add(tools.performer.state(first, observed.children, hidden))
    if rest and not outcome.refusals:
        # Other new pipelines get their pods first; this one goes on when it is its turn again.
        return outcome.ended(0.0)
    outcome.add(tools.performer.state(rest, observed.children, hidden))
    outcome.add(tools.performer.remove(plan.delete, hidden))
    if outcome.refusals:
        plan = plan_pipeline(replace(observed, refusals=tuple(outcome.refusals)), tools.classes)
    before, after = spelled("HPIPipeline", status), spelled("HPIPipeline", plan.status) or plan.status
    _remember(tools, key, plan, after)
    waits = [*_waits(tools, key, observed, outcome)]
    if plan.look_again_seconds is not None:
        waits.append(plan.look_again_seconds)
    age = tools.ledger.status_age_seconds((key.namespace, key.name))
    is_calm = not plan.events and not outcome.written
    if is_calm and age < STATUS_SECONDS and after is not None and says_otherwise(before, after):
        return outcome.ended(min([*waits, STATUS_SECONDS - age]))
    written = tools.performer.report(subject, before, after)
    if written is not None:
        outcome.written.append(written)
        tools.ledger.status_written((key.namespace, key.name))
    outcome.events += tools.performer.tell(subject, plan.events)
    return outcome.ended(min(waits, default=None))


def _in_stages(plan: Plan, observed: ObservedPipeline) -> tuple[Sequence[Manifest], Sequence[Manifest]]:
    """Return what is stated now and what later: of a pipeline without any pods, first all that pods need.

    Of many pipelines at once, each gets its Deployments before any gets the rest.
    """
    last = max((place for place, one in enumerate(plan.apply) if one["kind"] == "Deployment"), default=-1)
    if last < 0 or any(one.kind == "Deployment" for one in observed.children):
        return plan.apply, ()
    return plan.apply[: last + 1], plan.apply[last + 1 :]


def _remember(tools: Tools, key: Key, plan: Plan, status: Manifest | None) -> None:
    told: dict[str, Any] = dict(status or {})
    ready = next((one["status"] for one in told.get("conditions", ()) if one["type"] == reasons.READY), "Unknown")
    engines, runtime = tools.ledger.found(
        (key.namespace, key.name),
        engines=plan.wanted_engines,
        runtime=told.get("runtime") or "",
        ready=ready,
    )
    if engines:
        tools.queue.put(Key("Engines", key.namespace, EVERY))
        for node in tools.world.reports_on((key.namespace, key.name)):
            tools.queue.put(Key("Node", "", node.metadata.name))
    if runtime:
        tools.queue.put(Key("HPIRuntime", "", EVERY))


def _waits(tools: Tools, key: Key, observed: ObservedPipeline, outcome: _Outcome) -> Iterator[float]:
    """Yield when to look again for what no watch tells of."""
    name = (key.namespace, key.name)
    is_missing = any(text is None for text in observed.references.values())
    waited = tools.ledger.waits(name, for_others=is_missing or bool(outcome.refusals))
    if is_missing:
        yield min(max(waited, MISSING_SECONDS[0]), MISSING_SECONDS[1])
    elif observed.references:
        yield REFERENCES_SECONDS
    if outcome.refusals:
        yield min(max(waited, REFUSED_SECONDS[0]), REFUSED_SECONDS[1])


def failure_words(error: HpiError) -> str:
    """Return what a failed pass is counted under: the missing right where one is known, else the kind of error."""
    return error.right if isinstance(error, Forbidden) and error.right is not None else type(error).__name__
