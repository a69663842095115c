"""The watchdog of a child: ends its whole process tree beyond a limit of memory or past a deadline, and says why.

It is ours, beside any limit of the container: on cgroup v2 the kubelet lets the kernel kill all processes of a
container together, and a builder that is killed for its memory would take the server with it. `RLIMIT_AS` counts
address space, of which runtimes reserve many times what they touch.
"""

from __future__ import annotations

import logging
import os
import select
import socket
import subprocess
import threading
import time
from dataclasses import dataclass
from typing import Final, Literal

from hpi_agent.processes.process_tree import ProcessTree

SAMPLE_SECONDS: Final = 0.05
"""Time between two looks at a child that has a limit or a deadline."""
IDLE_SECONDS: Final = 1.0
"""Time between two looks at a child that has neither."""

log: Final = logging.getLogger("hpi.child")

Cause = Literal["crashed", "hung", "memory", "ended"]


@dataclass(frozen=True)
class Ending:
    """How a child ended."""

    cause: Cause
    """`crashed`: by a signal that was not ours; `hung`: past its deadline; `memory`: beyond its limit; `ended`: it
    exited, or was asked to."""
    exit_code: int
    """As `subprocess` gives it: negative for signals."""
    memory_bytes: int
    """What its tree took when it was last looked at."""


class Watchdog:
    """Watches one child from a thread; the child is reaped here and nowhere else."""

    def __init__(self, process: subprocess.Popen[bytes], connection: socket.socket, memory_bytes: int | None) -> None:
        """Begin to watch.

        Args:
            process: A child that leads a session of its own.
            connection: Our end of the channel; it is shut down when the child has ended, which wakes its readers.
            memory_bytes: Most that the whole tree may take; None: it is measured and not limited.
        """
        self._process = process
        self._connection = connection
        self._limit = memory_bytes
        self._tree = ProcessTree(process.pid)
        self._deadline: float | None = None
        self._memory_bytes = 0
        self._next_idle_sample = 0.0
        self.peak_memory_bytes = 0
        self.ending: Ending | None = None
        self._thread = threading.Thread(target=self._watch, name=f"watchdog of {process.pid}", daemon=True)
        self._thread.start()

    def arm(self, deadline: float) -> None:
        """Set the moment, by `time.monotonic`, after which the child is killed."""
        self._deadline = deadline

    def disarm(self) -> None:
        """Take the deadline away."""
        self._deadline = None

    def wait(self, patience_seconds: float) -> Ending:
        """Wait until the child has ended, kill it when that takes longer than allowed, and return how it ended."""
        self.arm(time.monotonic() + patience_seconds)
        self._thread.join()
        assert self.ending is not None  # noqa: S101 - the thread's last act
        return self.ending

    def _watch(self) -> None:
        exits = _open_exit_event(self._process.pid)
        try:
            while (cause := self._cause()) is None:
                exits.wait(SAMPLE_SECONDS)
        except Exception:
            # A child that nobody watches must not go on.
            log.exception("the watchdog of a child failed")
            cause = "ended"
        finally:
            exits.close()
        if not self._tree.kill():
            log.error("processes of a child outlive SIGKILL", extra={"root": self._process.pid})
        code = self._process.wait()
        self.ending = Ending("crashed" if cause == "ended" and code < 0 else cause, code, self._memory_bytes)
        self._shut()

    def _cause(self) -> Cause | None:
        if self._has_exited():
            return "ended"
        now, deadline = time.monotonic(), self._deadline
        if self._limit is not None or deadline is not None or now >= self._next_idle_sample:
            self._next_idle_sample = now + IDLE_SECONDS
            self._memory_bytes = self._tree.memory_bytes(self._limit)
            self.peak_memory_bytes = max(self.peak_memory_bytes, self._memory_bytes)
        if self._limit is not None and self._memory_bytes > self._limit:
            return "memory"
        return "hung" if deadline is not None and now > deadline else None

    def _has_exited(self) -> bool:
        # Not reaped yet: its number must stay its own until the rest of its tree is found.
        return os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None

    def _shut(self) -> None:
        try:
            # A process that escaped from the tree may still hold the child's end; readers must not wait for that one.
            self._connection.shutdown(socket.SHUT_RDWR)
        except OSError:
            # The connection is closed already.
            return


class _ExitEvent:
    """Waits for the end of a process, or for some time."""

    def __init__(self, pidfd: int | None) -> None:
        self._pidfd = pidfd

    def wait(self, seconds: float) -> None:
        if self._pidfd is None:
            time.sleep(seconds)
        else:
            poll = select.poll()
            poll.register(self._pidfd, select.POLLIN)
            poll.poll(1000 * seconds)

    def close(self) -> None:
        if self._pidfd is not None:
            os.close(self._pidfd)


def _open_exit_event(pid: int) -> _ExitEvent:
    try:
        return _ExitEvent(os.pidfd_open(pid))
    except OSError:
        # Linux before 5.3 has no such call; an end is then seen one sample later.
        return _ExitEvent(None)
