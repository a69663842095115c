"""Become another program that dies with whoever started it: `tied.py DESCRIPTOR PROGRAM ARGUMENT…`.

The descriptor is the reading end of a pipe that nobody writes to. When the writing end is gone – its holder ended, by
SIGKILL even – the kernel kills this process group (fcntl(2), `O_ASYNC`), as in `hpi_agent.processes.lifeline`. Here the
program ties itself before it becomes the other one, so there is no moment at which its holder's end would be missed.

`PR_SET_PDEATHSIG` fires when the *thread* that started the program ends, which may be long before the tests do.
"""

from __future__ import annotations

import fcntl
import os
import select
import signal
import sys


def tie(descriptor: int) -> None:
    """Let the kernel kill this process group when the other end of the pipe is gone."""
    fcntl.fcntl(descriptor, fcntl.F_SETOWN, -os.getpgrp())
    fcntl.fcntl(descriptor, fcntl.F_SETSIG, signal.SIGKILL)
    fcntl.fcntl(descriptor, fcntl.F_SETFL, fcntl.fcntl(descriptor, fcntl.F_GETFL) | os.O_ASYNC)
    end = select.poll()
    end.register(descriptor, 0)
    if end.poll(0):  # It was gone before the kernel was asked.
        sys.exit("whoever started this is gone")


if __name__ == "__main__":
    tie(int(sys.argv[1]))
    os.execv(sys.argv[2], sys.argv[2:])  # noqa: S606 - a path of ours, no shell
