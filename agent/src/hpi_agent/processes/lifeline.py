"""End a child when its parent dies, whatever either of them is doing.

The child holds one end of a pipe that nobody writes to. When the last writer is gone – the parent ended, by SIGKILL
even – the kernel signals the child's process group through the pipe's asynchronous notification (fcntl(2), `O_ASYNC`).
The child takes no part in it: a child that blocks signals or holds the interpreter lock in native code dies as well,
and so do its own children of the same group.

`PR_SET_PDEATHSIG` would not do: it fires when the *thread* that started the child ends, and engines are loaded in
threads that do.
"""

from __future__ import annotations

import fcntl
import os
import signal
from dataclasses import dataclass


@dataclass
class Lifeline:
    """Both ends of the pipe, on the parent's side."""

    reader: int
    """Passed to the child when it is started, then closed here by `tie`."""
    writer: int
    """Held by the parent for as long as the child may live."""

    @classmethod
    def open(cls) -> Lifeline:
        """Make the pipe; neither end is inherited unless it is passed on purpose."""
        return cls(*os.pipe())

    def tie(self, group: int) -> None:
        """Let the kernel kill a process group when the writing end is gone.

        Args:
            group: Process group of the child that was given `reader`.
        """
        fcntl.fcntl(self.reader, fcntl.F_SETOWN, -group)
        fcntl.fcntl(self.reader, fcntl.F_SETSIG, signal.SIGKILL)
        fcntl.fcntl(self.reader, fcntl.F_SETFL, fcntl.fcntl(self.reader, fcntl.F_GETFL) | os.O_ASYNC)
        os.close(self.reader)
        self.reader = -1

    def cut(self) -> None:
        """Close what is open on the parent's side; the child dies if it still lives."""
        for end in (self.reader, self.writer):
            if end >= 0:
                os.close(end)
        self.reader = self.writer = -1
