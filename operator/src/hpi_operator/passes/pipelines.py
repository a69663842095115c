"""The pass of one pipeline."""

from __future__ import annotations

from dataclasses import replace

from hpi_core.errors import Refused
from hpi_operator.act.events import Subject
from hpi_operator.observe.pipelines import key_of_pipeline, observe_pipeline
from hpi_operator.passes.base import Ended, Tools
from hpi_operator.passes.queue import Key
from hpi_operator.passes.statuses import spelled
from hpi_operator.plan.intent import Event
from hpi_operator.plan.observed import ObservedPipeline
from hpi_operator.plan.pipeline import plan_pipeline


def pass_pipeline(tools: Tools, key: Key) -> Ended:
    """Look at a pipeline, decide, and make it so."""
    name = (key.namespace, key.name)
    seen = observe_pipeline(
        tools.world, key.namespace, key.name, tools.now(), tools.settings, tools.conflicts.get(key, ())
    )
    if seen is None:
        for known in (tools.conflicts,):
            known.pop(key, None)
        tools.wanted_engines.pop(name, None)
        tools.runtime_of.pop(name, None)
        tools.queue.put(Key("Engines", key.namespace, "*"))
        return Ended()
    subject = Subject(key_of_pipeline(key.namespace, key.name), seen.live["metadata"]["uid"])
    if seen.observed is None:
        tools.recorder.tell(subject, Event("InvalidSpec", "; ".join(seen.problems), "Warning"))
        return Ended()
    if not tools.world.is_whole:
        # What is not seen is not missing: nothing is decided on half a picture.
        return Ended(look_again_seconds=1.0)
    return _perform(tools, key, subject, seen.observed, spelled("HPIPipeline", seen.live.get("status")))


def _perform(
    tools: Tools, key: Key, subject: Subject, observed: ObservedPipeline, status: dict[str, object] | None
) -> Ended:
    plan = plan_pipeline(observed, tools.classes)
    plan = replace(plan, status=spelled("HPIPipeline", plan.status) or plan.status)
    name = (key.namespace, key.name)
    if tools.wanted_engines.get(name) != frozenset(observed.engines_in_use):
        tools.wanted_engines[name] = frozenset(observed.engines_in_use)
        tools.queue.put(Key("Engines", key.namespace, "*"))
    runtime = (plan.status or {}).get("runtime")
    if tools.runtime_of.get(name) != runtime:
        tools.runtime_of[name] = runtime or ""
        tools.queue.put(Key("HPIRuntime", "", "*"))
    try:
        done = tools.performer.perform(plan, subject, observed.children, status)
    except Refused as error:
        # An object that the API server does not take: the pipeline says so, and the next change tries again.
        tools.recorder.tell(subject, Event("InvalidSpec", str(error), "Warning"))
        tools.conflicts[key] = (str(error),)
        return Ended(look_again_seconds=60.0)
    if done.conflicts != tools.conflicts.get(key, ()):
        tools.conflicts[key] = done.conflicts
        return Ended(done.writes, 0.1)
    again = plan.look_again_seconds
    return Ended(done.writes, min(again, 60.0) if done.conflicts and again else (60.0 if done.conflicts else again))
