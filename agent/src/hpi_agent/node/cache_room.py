"""Whether the node's cache volume takes what pods bring: what the exchange was told last, as long as it may be true."""

from __future__ import annotations

import shutil
import threading
from typing import Final

from hpi_agent.exchange.service import Exchange

MADE_BYTES: Final = 2**20
"""So much more room than when the volume was full is room that somebody has made."""


class CacheRoom:
    """The last word on the room of a volume; safe from several threads.

    That a volume is full is found out when a pod brings something. The pod may never come back: as soon as somebody has
    made room the word is forgotten, and the next pod finds out anew.
    """

    def __init__(self, exchange: Exchange) -> None:
        """Prepare; nothing is looked at yet."""
        self._exchange = exchange
        self._lock = threading.Lock()
        self._word: str | None = None
        self._free_bytes = 0
        self._shown: str | None = None

    def full(self) -> str | None:
        """Return why what a pod brought last could not be kept; None: there is room, as far as anybody knows."""
        with self._lock:
            self._shown = self._look()
            return self._shown

    def has_changed(self) -> bool:
        """Return whether `full` would say something else than the last time."""
        with self._lock:
            return self._look() != self._shown

    def _look(self) -> str | None:
        word = self._exchange.full
        if word is None:
            self._word = None
            return None
        try:
            free = shutil.disk_usage(self._exchange.store.root).free
        except OSError:
            # A volume that has gone since is told by whoever reads it.
            return word
        if word != self._word:
            self._word, self._free_bytes = word, free
        elif free >= self._free_bytes + MADE_BYTES:
            self._exchange.full = self._word = None
        return self._word
