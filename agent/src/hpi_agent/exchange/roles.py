"""What the server asks of the agent around it: who a token belongs to, what to make of reports, who may build.

The server calls each from several threads at once, never from its event loop: they may ask the API server, and must
answer within some seconds.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from hpi_agent.exchange.reports import (
    Asked,
    DecisionReport,
    FailureReport,
    Granted,
    Held,
    SelfTestReport,
    WorkloadReport,
)


@dataclass(frozen=True)
class PodIdentity:
    """Whose a token is, as a TokenReview says; nothing of it is the pod's own word."""

    namespace: str
    pod: str
    pod_uid: str
    service_account: str
    node: str
    expires_at: datetime


class Identify(Protocol):
    """Finds out whose a token is."""

    def __call__(self, token: str) -> PodIdentity:
        """Return whose a token is.

        Raises:
            Refused: It is nobody's, for another audience, of no pod, or of a pod on another node.
            Retry: The API server does not answer.
        """
        ...


class Shares(Protocol):
    """Says who may use what a pod brings."""

    def __call__(self, who: PodIdentity) -> str | None:
        """Return the namespace whose pods share a pod's engines, or None: all pods of the pool do.

        The answer of every agent without sharing across tenants is `who.namespace`.
        """
        ...


class Reports(Protocol):
    """Takes what pods tell of themselves."""

    def take(self, who: PodIdentity, report: WorkloadReport) -> None:
        """Remember what a pod serves. It is forgotten three minutes after its last word.

        Raises:
            Overloaded: More pods speak than a node can have.
            Refused: No pod of that sort may say it.
        """
        ...

    def self_tested(self, who: PodIdentity, report: SelfTestReport) -> None:
        """Remember how a self-test ended.

        Raises:
            Refused: The pod is no self-test of this node.
        """
        ...

    def gone(self, pod_uid: str) -> None:
        """Forget a pod: it has said that it ends."""
        ...


class Builds(Protocol):
    """Sees to it that a resolution is built once.

    `name` is `e-` and 40 digits (`resolution_name` of the key asked for), checked by the server; the tenant is the
    pod's namespace.
    """

    def acquire(self, who: PodIdentity, name: str, asked: Asked) -> Granted | Held:
        """Let a pod build, or say who does. Whoever has the right already gets it again.

        Raises:
            Retry: The API server does not answer.
        """
        ...

    def renew(self, who: PodIdentity, name: str, token: int) -> Granted:
        """Keep the right to build.

        Raises:
            Refused: It was lost: somebody else may build by now.
            Retry: The API server does not answer.
        """
        ...

    def release(self, who: PodIdentity, name: str, token: int) -> None:
        """Give the right back; one that was lost is no harm."""
        ...

    def decided(self, who: PodIdentity, name: str, report: DecisionReport) -> None:
        """Take what was decided, and give the right back.

        Raises:
            Refused: The right was lost.
            Retry: The API server does not answer.
        """
        ...

    def failed(self, who: PodIdentity, name: str, report: FailureReport) -> None:
        """Take why nothing was decided, and give the right back.

        Raises:
            Refused: The right was lost.
            Retry: The API server does not answer.
        """
        ...
