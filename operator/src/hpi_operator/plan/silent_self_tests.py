"""Self-tests that ended without a word: killed, or their image was never there. Nobody else tells what became of them.

A self-test tells its node's agent how it ended, and the agent says so in the HPINode. One that is killed, or never
starts, tells nothing: people are told by an event, and after a while another pod is made.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from hpi_core.api.v1alpha1.runtime import HPIRuntime
from hpi_core.moments import read_moment
from hpi_operator.plan.intent import Deletion, Event, Manifest, key_of
from hpi_operator.plan.observed import ObservedNode
from hpi_operator.plan.self_tests import DECIDED, ENDED, is_own, result_of, self_test_name

GRACE_SECONDS: Final = 60
"""How long what a self-test told may take to get here."""
RETRY_SECONDS: Final = 600
"""When a self-test is made anew that told nothing: until then its pod shows what happened."""


@dataclass(frozen=True)
class SilentTest:
    """A self-test that ended and whose result is not on record."""

    pod: Manifest
    runtime: str
    seconds: float
    """Since it ended."""
    why: str

    @property
    def look_again_seconds(self) -> float:
        """When time alone changes what is done about it."""
        return max(1.0, (GRACE_SECONDS if self.seconds < GRACE_SECONDS else RETRY_SECONDS) - self.seconds)


def silent_tests(observed: ObservedNode, runtimes: Sequence[HPIRuntime]) -> Iterator[SilentTest]:
    """Yield the node's own self-tests of wanted runtimes that ended and whose result is not on record."""
    wanted = {self_test_name(observed.node, one): one for one in runtimes}
    for test in sorted(observed.self_tests, key=lambda one: str(one["metadata"]["name"])):
        runtime, status = wanted.get(test["metadata"]["name"]), test.get("status") or {}
        if runtime is None or test["metadata"].get("deletionTimestamp") is not None or not is_own(observed, test):
            continue
        if status.get("phase") in ENDED and result_of(observed, runtime) not in DECIDED:
            seconds = (observed.now - _ended_at(test, observed.now)).total_seconds()
            yield SilentTest(test, runtime.metadata.name, seconds, _why(status))


def events_of(silent: Sequence[SilentTest]) -> Iterator[Event]:
    """Yield what people are told of self-tests that told nothing."""
    for one in silent:
        if one.seconds >= GRACE_SECONDS:
            name = one.pod["metadata"]["name"]
            message = f"{one.runtime}: pod {name} ended and told nothing: {one.why}; it is made anew after a while"
            yield Event("SelfTestFailed", message, "Warning")


def over_silent_tests(observed: ObservedNode, silent: Sequence[SilentTest]) -> Iterator[Deletion]:
    """Yield self-tests that go so that another one can be made."""
    for one in silent:
        if observed.complete and one.seconds >= RETRY_SECONDS:
            key = key_of({"apiVersion": "v1", "kind": "Pod", **one.pod})
            yield Deletion(key, one.pod["metadata"]["uid"], "it ended and told nothing")


def _ended_at(test: Manifest, now: datetime) -> datetime:
    status = test.get("status") or {}
    ended = [
        one["state"]["terminated"].get("finishedAt")
        for one in status.get("containerStatuses") or ()
        if one.get("state", {}).get("terminated")
    ]
    # A pod that never started has no container that ended.
    ended += [one.get("lastTransitionTime") for one in status.get("conditions") or ()]
    moments = [read_moment(one) for one in ended if one]
    return max(moments, default=now)


def _why(status: Manifest) -> str:
    for one in status.get("containerStatuses") or ():
        ended, waits = (one.get("state", {}).get(name) for name in ("terminated", "waiting"))
        if ended:
            return f"{ended.get('reason', 'it ended')}, exit code {ended.get('exitCode')}"
        if waits:
            return f"{status.get('reason', 'it never started')}, {waits.get('reason', 'it waits')}"
    return str(status.get("message") or status.get("reason") or "nobody says why")[:200]
