"""A thread that looks at names, each when it is due."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable


class Worker:
    """Looks at one name after the other; a name that is put again before its turn is looked at once."""

    def __init__(self, look: Callable[[str], None]) -> None:
        """Prepare.

        Args:
            look: Looks at one name, in the thread of the worker; it must not raise.
        """
        self._look = look
        self._changed = threading.Condition()
        self._due: dict[str, float] = {}
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="worker", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End after the name that is being looked at."""
        with self._changed:
            self._stopping = True
            self._changed.notify()
        self._thread.join(60)

    def put(self, name: str, after_seconds: float = 0.0) -> None:
        """Have a name looked at after so long, or earlier if it is due earlier."""
        at = time.monotonic() + after_seconds
        with self._changed:
            self._due[name] = min(at, self._due.get(name, at))
            self._changed.notify()

    def _run(self) -> None:
        while (name := self._next()) is not None:
            self._look(name)

    def _next(self) -> str | None:
        with self._changed:
            while not self._stopping:
                name = min(self._due, key=self._due.__getitem__, default=None)
                if name is None:
                    self._changed.wait()
                elif (left := self._due[name] - time.monotonic()) > 0:
                    self._changed.wait(left)
                else:
                    del self._due[name]
                    return name
            return None
