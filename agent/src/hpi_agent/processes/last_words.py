"""The end of what a child writes on its standard output and error, kept in bounded memory."""

from __future__ import annotations

import logging
import os
import threading
from typing import Final

MAX_KEPT_BYTES: Final = 64 * 1024
"""What is kept of one child's output; the rest is read and dropped, so that a flood never blocks it. Unit: bytes."""
MAX_LINE_CHARACTERS: Final = 300

log: Final = logging.getLogger("hpi.child")


class LastWords:
    """Reads a pipe to its end in a thread of its own."""

    def __init__(self, pipe: int, name: str) -> None:
        self._pipe = pipe
        self._name = name
        self._kept = bytearray()
        self._changing = threading.Lock()
        self._thread = threading.Thread(target=self._read, name=f"output of {name}", daemon=True)
        self._thread.start()

    @property
    def text(self) -> str:
        """What was kept: at most the last 64 KiB; bytes that are no UTF-8 are shown as escapes."""
        with self._changing:
            return self._kept.decode("utf-8", "backslashreplace")

    @property
    def last_line(self) -> str:
        """The last line that holds something, at most 300 printable characters; empty when nothing was written."""
        lines = [line.strip() for line in self.text.splitlines() if line.strip()]
        return "" if not lines else _printable(lines[-1])

    def wait(self, seconds: float) -> None:
        """Wait for the end of the pipe: what a child wrote just before its death may still be inside."""
        self._thread.join(seconds)

    def _read(self) -> None:
        try:
            while piece := os.read(self._pipe, MAX_KEPT_BYTES):
                with self._changing:
                    self._kept += piece
                    del self._kept[:-MAX_KEPT_BYTES]
                if log.isEnabledFor(logging.DEBUG):
                    text = _printable(piece.decode("utf-8", "backslashreplace"))
                    log.debug("a child wrote", extra={"child": self._name, "text": text})
        finally:
            os.close(self._pipe)


def _printable(text: str) -> str:
    shown = "".join(character if character.isprintable() else "�" for character in text)
    return shown if len(shown) <= MAX_LINE_CHARACTERS else shown[: MAX_LINE_CHARACTERS - 1] + "…"
