"""Why pods do not serve: state, container, last words, and what Kubernetes' events say."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from hpi_core.names import PART
from hpi_operator.kubectl.reports.causes import MAX_SHOWN, Finding, and_more
from hpi_operator.kubectl.reports.commands import Place, filled
from hpi_operator.kubectl.reports.documents import Document, labels_of, listed, namespace_of, part
from hpi_operator.kubectl.reports.pods import READY, STATES, PodLine, pod_line
from hpi_operator.kubectl.reports.sight import Sight
from hpi_operator.observe.projections import pod as seen_pod

QUIET: Final = (READY, "Ending", "Completed")
ENDED: Final = ("CrashLoopBackOff", "Error", "OOMKilled")
MAX_EVENTS: Final = 2


def pods_to_tell(pods: Sequence[Document]) -> list[tuple[Document, PodLine, int]]:
    """Return the pods that do not serve, one for each way in which they fail, with how many fail alike.

    Those that fail for good come first. At most `MAX_SHOWN` ways are told one by one.
    """
    ways: dict[tuple[object, ...], list[tuple[Document, PodLine]]] = {}
    for pod in pods:
        line = pod_line(pod, seen_pod(pod), {})
        if line.state not in QUIET:
            part_of = labels_of(pod).get(PART, "serving")
            way = (part_of, line.state, line.container, line.exit_code, labels_of(pod).get("pod-template-hash"))
            ways.setdefault(way, []).append((pod, line))
    firsts = [(*min(alike, key=lambda one: (-one[1].restarts, one[1].name)), len(alike)) for alike in ways.values()]
    return sorted(firsts, key=lambda one: (not one[1].wrong, one[1].state, one[1].name))


def pod_findings(sight: Sight, place: Place) -> list[Finding]:
    """Return a link for each way in which pods fail."""
    told = pods_to_tell(sight.pods)
    found = [_finding(pod, line, alike, sight, place) for pod, line, alike in told[:MAX_SHOWN]]
    return [*found, *and_more("Pods that fail otherwise", sum(alike for _, _, alike in told[MAX_SHOWN:]))]


def _finding(pod: Document, line: PodLine, alike: int, sight: Sight, place: Place) -> Finding:
    known = STATES.get(line.state)
    uid = str(part(pod, "metadata").get("uid"))
    events = [_event(one) for one in sight.events.get(uid, ())[-MAX_EVENTS:]]
    return Finding(
        object=f"Pod {namespace_of(pod)}/{line.name}",
        what=_words(pod, line, alike),
        reason=line.state,
        message=line.message,
        meaning="" if known is None else known.meaning,
        remedy="" if known is None else known.remedy,
        since=_since(pod),
        next=_commands(line, place),
        # A scheduler's event repeats the message of the pod.
        causes=tuple(one for one in events if one.message != line.message),
    )


def _words(pod: Document, line: PodLine, alike: int) -> str:
    words = [f"container {line.container}: {line.state}" if line.container else line.state]
    if line.exit_code is not None:
        words.append(f"exit code {line.exit_code}")
    if line.restarts:
        words.append(f"{line.restarts} restart{'' if line.restarts == 1 else 's'}")
    words.append(f"on {line.node}" if line.node else "on no node")
    if labels_of(pod).get(PART) == "prebuild":
        words.append("builds ahead")
    if alike > 1:
        words.append(f"and {alike - 1} more like it")
    return ", ".join(words)


def _since(pod: Document) -> str:
    ready = next((one for one in listed(pod, "status", "conditions") if one.get("type") == "Ready"), {})
    return str(ready.get("lastTransitionTime") or part(pod, "metadata").get("creationTimestamp") or "")


def _commands(line: PodLine, place: Place) -> tuple[str, ...]:
    container = f" -c {line.container}" if line.container else ""
    log = f"kubectl logs {line.name} -n NAMESPACE{container}"
    describe = f"kubectl describe pod {line.name} -n NAMESPACE"
    if line.state in ENDED:
        commands = [f"{log} --previous" if line.restarts else log, describe]
    elif line.state == "Unschedulable":
        commands = [describe, "kubectl hpi nodes"]
    elif line.state == "Starting":
        commands = [log, describe]
    else:
        commands = [describe]
    return tuple(filled(one, place) for one in commands)


def _event(event: Document) -> Finding:
    count = int(event.get("count") or 1)
    times = f", {count} times" if count > 1 else ""
    return Finding(
        object="Event",
        what=f"{event.get('reason', '')}{times}",
        reason=str(event.get("reason") or ""),
        message=str(event.get("message") or ""),
        since=str(event.get("lastTimestamp") or event.get("eventTime") or ""),
    )
