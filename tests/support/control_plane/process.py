"""One program that runs: started in a group of its own, tied to this process, its output in a file."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

TIED: Final = Path(__file__).with_name("tied.py")
PATIENCE_SECONDS: Final = 10.0
"""How long a program may take to end by itself."""
LAST_LINES: Final = 15


class Process:
    """A running program."""

    def __init__(
        self, name: str, command: Sequence[str], *, directory: Path, log: Path, environment: Mapping[str, str]
    ) -> None:
        """Start it.

        Args:
            name: What it is called in errors.
            command: Path of the program, and its arguments.
            directory: Where it works.
            log: Takes its standard output and error; only this user may read it.
            environment: All its variables: a proxy of the caller's must not come between programs on loopback.
        """
        self.name = name
        self.log = log
        reader, self._writer = os.pipe()
        try:
            with os.fdopen(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "wb") as output:
                self._process = subprocess.Popen(
                    [sys.executable, "-I", "-S", str(TIED), str(reader), *command],
                    cwd=directory,
                    env=environment,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    pass_fds=[reader],
                    start_new_session=True,
                )
        except BaseException:
            os.close(self._writer)
            raise
        finally:
            os.close(reader)

    @property
    def pid(self) -> int:
        """Number of the process, and of its group."""
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """How it ended, as `subprocess` tells it; None while it runs."""
        return self._process.poll()

    def wait(self, timeout_seconds: float) -> int | None:
        """Wait for its end; return its exit code, None when it still runs after so long."""
        try:
            return self._process.wait(timeout_seconds)
        except subprocess.TimeoutExpired:
            return None

    def stop(self, patience_seconds: float = PATIENCE_SECONDS) -> None:
        """End it: SIGTERM first, SIGKILL to its whole group when it takes too long. A second call does nothing."""
        if self._writer < 0:
            return
        # Popen asks whether the process has been reaped, so the number cannot have become another one's.
        self._process.terminate()
        if self.wait(patience_seconds) is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)
            self._process.wait()
        # With this the kernel kills what its group still holds: children that it left behind.
        os.close(self._writer)
        self._writer = -1

    def last_lines(self, count: int = LAST_LINES) -> str:
        """Return the end of what it wrote."""
        with self.log.open(encoding="utf-8", errors="replace") as stream:
            return "".join(deque(stream, count)).rstrip()


def describe_exit(code: int) -> str:
    """Return an exit code of `subprocess` in words."""
    return f"exit code {code}" if code >= 0 else f"signal {signal.Signals(-code).name}"
