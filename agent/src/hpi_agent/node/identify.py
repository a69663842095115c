"""Whose a token is: a TokenReview for a pod of this node, remembered for a minute."""

from __future__ import annotations

import hashlib
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any, Final

from hpi_agent.exchange.roles import PodIdentity
from hpi_agent.exchange.token_file import MAX_TOKEN_BYTES
from hpi_agent.node.access import claims_of
from hpi_agent.node.api import Api
from hpi_agent.node.api_errors import Answered, Away
from hpi_core.errors import Overloaded, Refused
from hpi_core.names import AGENT_AUDIENCE

REVIEWS: Final = "/apis/authentication.k8s.io/v1/tokenreviews"
KNOWN_SECONDS: Final = 60.0
REFUSED_SECONDS: Final = 5.0
MAX_KNOWN: Final = 1_024
REVIEWS_PER_SECOND: Final = 20.0
"""Most questions to the API server: whoever can reach this port must not be able to flood that one."""
BURST: Final = 100.0

_USER: Final = "system:serviceaccount:"
_EXTRA: Final = "authentication.kubernetes.io/"


@dataclass(frozen=True)
class _Answer:
    until: float
    """By the clock that never goes back."""
    who: PodIdentity | None
    why_not: str = ""


class TokenReviews:
    """Asks the API server whose a token is, and remembers."""

    def __init__(
        self,
        api: Api,
        node: str,
        *,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = lambda: datetime.now(timezone.utc),
    ) -> None:
        """Prepare.

        Args:
            api: The connection.
            node: This node: pods of others are refused.
            clock: Seconds that never go back.
            now: The time.
        """
        self._api = api
        self._node = node
        self._clock = clock
        self._now = now
        self._lock = threading.Lock()
        self._known: OrderedDict[bytes, _Answer] = OrderedDict()
        self._allowance, self._filled_at = BURST, clock()

    def __call__(self, token: str) -> PodIdentity:
        """Return whose a token is.

        Raises:
            Refused: It is nobody's, for another audience, of no pod, or of a pod on another node.
            Retry: The API server does not answer, or too many tokens come that it has to be asked for.
        """
        digest = hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
        with self._lock:
            known = self._known.get(digest)
        if known is None or known.until <= self._clock():
            known = self._review(token)
            self._remember(digest, known)
        if known.who is None:
            raise Refused(known.why_not)
        return known.who

    def _review(self, token: str) -> _Answer:
        until = self._clock() + REFUSED_SECONDS
        why_not = self._plain_fault(token)
        if why_not is not None:
            return _Answer(until, None, why_not)
        self._take_allowance()
        spec = {"token": token, "audiences": [AGENT_AUDIENCE]}
        body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": spec}
        asked_at = self._clock()
        try:
            review = self._api.create(REVIEWS, body)
        except Answered as refused:
            # Whose the token is nobody knows then: it is the agent that was refused.
            raise Away(f"the API server does not say whose a token is: {refused}") from refused
        try:
            who = identity(review.get("status") or {}, self._node, _expiry(token))
        except Refused as refusal:
            return _Answer(asked_at + REFUSED_SECONDS, None, str(refusal))
        left = (who.expires_at - self._now()).total_seconds()
        return _Answer(asked_at + min(KNOWN_SECONDS, left), who)

    def _plain_fault(self, token: str) -> str | None:
        """Return what is wrong with a token as anybody can see, for which the API server need not be asked."""
        if not token or len(token) > MAX_TOKEN_BYTES or not token.isascii():
            return "the token is not one of a service account"
        try:
            claims = claims_of(token)
        except Refused as refusal:
            return str(refusal)
        audiences = claims.get("aud")
        if AGENT_AUDIENCE not in (audiences if isinstance(audiences, list) else [audiences]):
            return f"the token is for another audience than {AGENT_AUDIENCE}"
        if _expiry(token) <= self._now():
            return "the token has expired; read its file anew, the kubelet replaces it"
        return None

    def _take_allowance(self) -> None:
        with self._lock:
            now = self._clock()
            self._allowance = min(BURST, self._allowance + (now - self._filled_at) * REVIEWS_PER_SECOND)
            self._filled_at = now
            if self._allowance < 1:
                raise Overloaded("more tokens come than the API server is asked for", 1)
            self._allowance -= 1

    def _remember(self, digest: bytes, answer: _Answer) -> None:
        with self._lock:
            self._known[digest] = answer
            self._known.move_to_end(digest)
            while len(self._known) > MAX_KNOWN:
                self._known.popitem(last=False)


def identity(status: Mapping[str, Any], node: str, expires_at: datetime) -> PodIdentity:
    """Return whose a token is by the status of its TokenReview.

    Raises:
        Refused: It is nobody's, for another audience, of no pod, or of a pod on another node.
    """
    if status.get("authenticated") is not True:
        raise Refused(f"the API server does not know the token: {status.get('error') or 'it gives no reason'}")
    if AGENT_AUDIENCE not in (status.get("audiences") or ()):
        raise Refused(f"the token is for another audience than {AGENT_AUDIENCE}")
    user = status.get("user") or {}
    name = str(user.get("username", ""))
    namespace, _, account = name.removeprefix(_USER).partition(":")
    extra = user.get("extra") or {}
    told = {key: (extra.get(_EXTRA + key) or [""])[0] for key in ("pod-name", "pod-uid", "node-name")}
    if not name.startswith(_USER) or not namespace or not account or not told["pod-name"] or not told["pod-uid"]:
        raise Refused("the token is of no pod: it must be mounted by a kubelet")
    if told["node-name"] != node:
        raise Refused(f"the token is of a pod on node {told['node-name'] or 'unknown'}, this is the agent of {node}")
    return PodIdentity(namespace, told["pod-name"], told["pod-uid"], account, told["node-name"], expires_at)


def _expiry(token: str) -> datetime:
    expires = claims_of(token).get("exp")
    if not isinstance(expires, int) or not 0 < expires < 2**40:
        raise Refused("the token does not say when it expires")
    return datetime.fromtimestamp(expires, timezone.utc)
