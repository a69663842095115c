"""Whose an object is, and what to do where another writer owns a field that the operator states."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from typing import Final

from hpi_core.names import MANAGED_BY, PIPELINE
from hpi_operator.kube.errors import Taken
from hpi_operator.plan.intent import Manifest, ObjectKey

MAX_REPAIRS: Final = 3
REPAIRS_SECONDS: Final = 600.0
"""A field that somebody else wrote is taken back so often in this time; who writes it again is no slip of a hand."""
MAX_REMEMBERED: Final = 4_096


class Repairs:
    """What was taken back from whom lately.

    A person who edits, scales or patches an object wrote a field once: it is taken back. A program that applies it
    (GitOps, another controller) means it for good, and one that updates it again and again (an autoscaler that nobody
    told the operator of) does too: fighting it would write for ever, so it is told in a condition and left alone.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """Begin with nothing.

        Args:
            clock: Seconds that never go back.
        """
        self._clock = clock
        self._lock = threading.Lock()
        self._done: OrderedDict[tuple[ObjectKey, str], deque[float]] = OrderedDict()

    def may_take_back(self, key: ObjectKey, conflict: Taken) -> bool:
        """Return whether the fields of a conflict are taken back from their owners, and count it if so."""
        if any(owner.applies for owner in conflict.owners):
            return False
        now = self._clock()
        with self._lock:
            histories = [self._history(key, owner.manager, now) for owner in conflict.owners]
            if any(len(one) >= MAX_REPAIRS for one in histories):
                return False
            for one in histories:
                one.append(now)
            while len(self._done) > MAX_REMEMBERED:
                self._done.popitem(last=False)
        return True

    def _history(self, key: ObjectKey, manager: str, now: float) -> deque[float]:
        history = self._done.setdefault((key, manager), deque(maxlen=MAX_REPAIRS))
        self._done.move_to_end((key, manager))
        while history and now - history[0] > REPAIRS_SECONDS:
            history.popleft()
        return history


def is_foreign(live: Manifest, intent: Manifest) -> bool:
    """Return whether an object is somebody else's than the one that is meant.

    One without any owner is the operator's where its labels say so: a backup that was restored, or a pipeline that was
    deleted without its objects.
    """
    meant = {owner["uid"] for owner in intent["metadata"].get("ownerReferences") or ()}
    if not meant:
        # An HPIEngine belongs to nobody: its name is the digest of what it is, and whoever wants it shares it.
        return False
    there = {owner.get("uid") for owner in live["metadata"].get("ownerReferences") or ()}
    if there:
        return not meant & there
    labels, wanted = live["metadata"].get("labels") or {}, intent["metadata"].get("labels") or {}
    return not all(key in wanted and labels.get(key) == wanted[key] for key in (PIPELINE, MANAGED_BY))


def owner_words(live: Manifest) -> str:
    """Return to whom an object belongs, in words."""
    owners = live["metadata"].get("ownerReferences") or ()
    words = [f"{one.get('kind')} {one.get('name')} (uid {one.get('uid')})" for one in owners]
    return " and ".join(words) or "nobody"
