"""Run one program to its end: an argument list, a deadline, a bound on what it writes, and no wait that cannot end.

`subprocess.run` keeps all that a program writes, and after its deadline waits for the program to die. A process that
hangs inside a driver cannot be killed (state D) and would be waited for as long as the driver hangs.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

READ_BYTES: Final = 65_536
EXIT_POLL_SECONDS: Final = 0.002
"""Time between two looks at a program that has closed its output and not ended yet."""
LAST_WAIT_SECONDS: Final = 1.0
"""How long a program that was killed may take to end before it is left to itself."""

Ending = Literal["ended", "hung", "flooded", "not started"]


@dataclass(frozen=True)
class CommandResult:
    """What came of a program."""

    ending: Ending
    """`hung`: past its deadline; `flooded`: it wrote more than allowed; both are killed. `not started`: see `errors`"""
    exit_code: int | None
    """As `subprocess` gives it; None where it did not start, or could not be killed."""
    output: str
    """Its standard output, as far as it was read; bytes that are no UTF-8 are shown as escapes."""
    errors: str
    """Its standard error, likewise."""


def run_command(
    command: Sequence[str],
    *,
    timeout_seconds: float,
    max_output_bytes: int,
    environment: Mapping[str, str] | None = None,
    directory: Path | None = None,
) -> CommandResult:
    """Run a program and return what it wrote; it gets no input and no shell sees its arguments.

    Args:
        command: Program and arguments.
        timeout_seconds: When it and all processes of its group are killed.
        max_output_bytes: Most that it may write on either stream before it is killed.
        environment: Variables beside those of this process.
        directory: Where it runs; None: where this process does.
    """
    try:
        process = subprocess.Popen(  # noqa: S603 - an argument list, no shell
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, **(environment or {})},
            cwd=directory,
            start_new_session=True,
        )
    except OSError as error:
        return CommandResult("not started", None, "", error.strerror or type(error).__name__)
    written: tuple[bytearray, bytearray] = (bytearray(), bytearray())
    try:
        ending = _read(process, written, time.monotonic() + timeout_seconds, max_output_bytes)
    finally:
        exit_code = _end(process)
    output, errors = (bytes(stream[:max_output_bytes]).decode("utf-8", "backslashreplace") for stream in written)
    return CommandResult(ending, exit_code, output, errors)


def _read(
    process: subprocess.Popen[bytes], written: tuple[bytearray, bytearray], deadline: float, max_bytes: int
) -> Ending:
    with selectors.DefaultSelector() as selector:
        for pipe, stream in zip((process.stdout, process.stderr), written, strict=True):
            assert pipe is not None  # noqa: S101 - it was asked for
            selector.register(pipe, selectors.EVENT_READ, stream)
        while selector.get_map():
            ready = selector.select(max(0.0, deadline - time.monotonic()))
            if not ready and time.monotonic() >= deadline:
                return "hung"
            for key, _ in ready:
                piece = os.read(key.fd, READ_BYTES)
                key.data.extend(piece)
                if not piece:
                    selector.unregister(key.fileobj)
                if len(key.data) > max_bytes:
                    return "flooded"
    # Not reaped yet: its number must stay its own until its group is killed.
    while os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
        if time.monotonic() >= deadline:
            return "hung"
        time.sleep(EXIT_POLL_SECONDS)
    return "ended"


def _end(process: subprocess.Popen[bytes]) -> int | None:
    """Kill what is left of the group, close the pipes and return the exit code; None for what cannot be killed."""
    # Its program may have made itself another user's.
    with contextlib.suppress(PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    for pipe in (process.stdout, process.stderr):
        if pipe is not None:
            pipe.close()
    try:
        return process.wait(LAST_WAIT_SECONDS)
    except subprocess.TimeoutExpired:
        # Without this the object would warn, when it is collected, of a process that nobody can end.
        process.returncode = -signal.SIGKILL
        return None
