"""Results of self-tests: from whom one is taken, and what is said of each wanted runtime; pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from hpi_agent.exchange.reports import SelfTestReport
from hpi_agent.exchange.roles import PodIdentity
from hpi_agent.node.on_disk import FAILED as NOT_INSTALLED
from hpi_agent.node.on_disk import INSTALLED, INSTALLING, OnDisk
from hpi_core.api.v1alpha1.node import NodeSpec, WantedRuntime
from hpi_core.errors import Refused
from hpi_core.names import SELF_TEST_ACCOUNT, self_test_name

PASSED: Final = "Passed"
FAILED: Final = "Failed"
USABLE: Final = "Usable"
MAX_MESSAGE: Final = 256


@dataclass(frozen=True)
class Result:
    """How a self-test ended."""

    lock_digest: str
    passed: bool
    message: str
    backends: tuple[str, ...]
    time: str
    """When it was told, RFC 3339."""


def check_reporter(who: PodIdentity, report: SelfTestReport, spec: NodeSpec, operator_namespace: str) -> None:
    """Check that a pod is the self-test that the operator has made for a wanted runtime of this very node.

    Its name is a digest of runtime, lock and node, in a namespace where the operator alone makes pods: no serving pod
    can have it.

    Raises:
        Refused: It is not.
    """
    if who.namespace != operator_namespace or who.service_account != SELF_TEST_ACCOUNT:
        raise Refused(
            f"pod {who.namespace}/{who.pod} of account {who.service_account} is no self-test: those run in "
            f"{operator_namespace} as {SELF_TEST_ACCOUNT}"
        )
    wanted = next((one for one in spec.runtimes if one.name == report.runtime), None)
    if wanted is None or wanted.lock_digest != report.lock_digest:
        known = ", ".join(f"{one.name} with {one.lock_digest}" for one in spec.runtimes) or "none"
        raise Refused(
            f"runtime {report.runtime} with {report.lock_digest} is not wanted on node {who.node}; wanted is {known}"
        )
    expected = self_test_name(who.node, spec.node_uid, wanted.name, wanted.lock_digest)
    if who.pod != expected:
        raise Refused(f"pod {who.pod} is not the self-test of {wanted.name} on node {who.node}: that is {expected}")


def result_of(report: SelfTestReport, now: str) -> Result:
    """Return the result that a report tells."""
    message = report.message or ("" if report.passed else "the self-test does not say why")
    return Result(report.lock_digest, report.passed, message[:MAX_MESSAGE], tuple(report.backends), now)


def runtime_rows(
    wanted: Sequence[WantedRuntime],
    results: Mapping[str, Result],
    before: Sequence[Mapping[str, Any]],
    on_disk: Mapping[str, OnDisk] | None = None,
) -> Iterator[dict[str, Any]]:
    """Yield what is said of each wanted runtime of which something is known.

    Whether an image is on the node is not the agent's to see: a runtime of which no self-test has told is left out. A
    result that was said once stays until the runtime has another lock; who said it may be gone since.

    Args:
        wanted: Runtimes that the node shall have.
        results: Results that were told since this agent began, by runtime.
        before: What HPINode.status says.
        on_disk: How far those are that this agent installs, by runtime.
    """
    known = {one.get("name"): one for one in before}
    for one in wanted:
        result, said, disk = results.get(one.name), known.get(one.name), (on_disk or {}).get(one.name)
        if disk is not None and disk.state in (INSTALLING, NOT_INSTALLED):
            yield _of_disk(one, disk)
            continue
        if result is not None and result.lock_digest == one.lock_digest:
            yield _row(one, result)
        elif said is not None and said.get("lockDigest") == one.lock_digest and said.get("selfTest"):
            yield dict(said)
        elif disk is not None and disk.state == INSTALLED:
            yield _of_disk(one, disk)


def _of_disk(wanted: WantedRuntime, disk: OnDisk) -> dict[str, Any]:
    said = {"name": wanted.name, "lockDigest": wanted.lock_digest, "state": disk.state}
    return {**said, "message": disk.message[:MAX_MESSAGE]} if disk.message else said


def _row(wanted: WantedRuntime, result: Result) -> dict[str, Any]:
    state = PASSED if result.passed else FAILED
    return {
        "name": wanted.name,
        "lockDigest": wanted.lock_digest,
        "state": USABLE if result.passed else FAILED,
        "selfTest": {"state": state, "message": result.message, "time": result.time},
        "backends": list(result.backends),
    }
