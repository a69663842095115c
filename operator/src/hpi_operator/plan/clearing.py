"""What goes: the pipeline's own objects that nothing wants any more, and nothing that serves before others do."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from hpi_core.names import REVISION, TRACK
from hpi_operator.plan.intent import Deletion, Manifest, ObjectKey, key_of
from hpi_operator.plan.objects import Wanted
from hpi_operator.plan.observed import ObservedPipeline
from hpi_operator.plan.ownership import is_going, is_owned
from hpi_operator.plan.workload.exposure import canary_weight
from hpi_operator.plan.workload.parts import CANARY, STABLE

KEPT_FOR_GOOD: Final = frozenset({"PersistentVolumeClaim"})
"""Kinds that are not deleted when nothing wants them: what they hold is the user's, and goes with the pipeline."""


def deletions(observed: ObservedPipeline, made: Sequence[Manifest], wanted: Wanted) -> Iterator[Deletion]:
    """Yield what goes; nothing while the picture is not whole.

    Args:
        observed: Everything that was observed.
        made: Every object that should be.
        wanted: What was decided.
    """
    if not observed.complete:
        return
    stated = {key_of(manifest): manifest for manifest in made}
    for key, live in sorted(observed.children.items()):
        if not is_owned(live, observed.uid) or is_going(live) or key.kind in KEPT_FOR_GOOD:
            continue
        if key in stated:
            if is_spoiled(live, stated[key]):
                yield Deletion(key, live["metadata"]["uid"], "it is not what the revision was made of")
        elif not _is_needed(observed, key, live, wanted):
            yield Deletion(key, live["metadata"]["uid"], "nothing wants it any more")


def is_spoiled(live: Manifest, intent: Manifest) -> bool:
    """Return whether the ConfigMap of a revision holds something else: it cannot be changed, only made anew."""
    return intent["kind"] == "ConfigMap" and bool(live.get("data") != intent["data"])


def _is_needed(observed: ObservedPipeline, key: ObjectKey, live: Manifest, wanted: Wanted) -> bool:
    labels = live["metadata"].get("labels") or {}
    if key.kind == "Job":
        # It is the record of what was built, and of why a build failed.
        is_record = observed.pipeline.spec.build.policy == "Prebuild" and (
            key in wanted.ahead.jobs or wanted.decision.wanted.given_up
        )
        return is_record and labels.get(REVISION) == wanted.decision.wanted.name
    if key.kind != "Deployment":
        return False
    if labels.get(TRACK) == CANARY:
        # A gateway that still sends it requests is told first.
        return any(
            canary_weight(route) > 0
            for other, route in observed.children.items()
            if other.kind == "HTTPRoute" and is_owned(route, observed.uid)
        )
    in_use = {one.label for one in wanted.classes}
    serving = sum(
        pod.ready and not pod.deleting and pod.track == STABLE and pod.class_ in in_use for pod in observed.pods
    )
    # What serves goes when as many serve elsewhere.
    return labels.get(TRACK) == STABLE and serving < wanted.scene.replicas
