"""Self-tests whose pod cannot be started: an image that is not there, say. No waiting mends it, and people are told."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from hpi_core.api.v1alpha1.runtime import HPIRuntime
from hpi_core.names import MAX_NAME, RUNTIME, SELF_TEST, shortened
from hpi_operator.plan.conditions import shortened as cut
from hpi_operator.plan.failures import FAILING
from hpi_operator.plan.intent import Manifest

REASON: Final = "SelfTestCannotStart"
MAX_WORDS: Final = 256


@dataclass(frozen=True)
class StuckTest:
    """A self-test that waits for what does not come."""

    pod: str
    reason: str
    """The kubelet's."""
    message: str
    """The kubelet's; it names the image."""

    def __str__(self) -> str:
        """Return it for people."""
        return f"pod {self.pod}, container {SELF_TEST}: {self.reason}: {self.message or 'the kubelet does not say why'}"


def stuck_test(pod: Manifest) -> StuckTest | None:
    """Return why a self-test cannot start; None: nothing is known to be in its way."""
    for one in (pod.get("status") or {}).get("containerStatuses") or ():
        waiting = (one.get("state") or {}).get("waiting") or {}
        if waiting.get("reason") in FAILING:
            return StuckTest(pod["metadata"]["name"], waiting["reason"], waiting.get("message") or "")
    return None


def stuck_on_nodes(runtime: HPIRuntime, tests: Iterable[tuple[str, Manifest]]) -> tuple[str, int]:
    """Return in words why self-tests of a runtime cannot start, by the first node, and on how many nodes.

    Args:
        runtime: The runtime.
        tests: Node and pod of self-tests, whosever they are.
    """
    label = shortened(runtime.metadata.name, MAX_NAME)
    found = {
        node: stuck
        for node, pod in tests
        if (pod["metadata"].get("labels") or {}).get(RUNTIME) == label and (stuck := stuck_test(pod)) is not None
    }
    if not found:
        return "", 0
    first = min(found)
    return cut(f"{first}: {found[first]}", MAX_WORDS), len(found)
