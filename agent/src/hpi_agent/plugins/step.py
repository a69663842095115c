"""One step of an installation: a program that is run to its end, its lines read as they come, its time bounded."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from hpi_agent.processes.child import describe_exit
from hpi_agent.processes.lifeline import Lifeline
from hpi_core.errors import Stop

MAX_LINES: Final = 60
MAX_SHOWN_LINES: Final = 8
MAX_LINE_CHARACTERS: Final = 500
_CONTROL: Final = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")


@dataclass(frozen=True)
class Ended:
    """How a program ended."""

    exit_code: int
    """As `subprocess` says it: below 0 for a signal."""
    timed_out: bool
    lines: tuple[str, ...]
    """The last lines that it wrote on its standard output and error, at most `MAX_LINES`."""

    @property
    def passed(self) -> bool:
        """Whether it ended by itself and with 0."""
        return self.exit_code == 0 and not self.timed_out


def run_step(
    command: Sequence[str],
    *,
    environment: Mapping[str, str],
    folder: Path,
    seconds: float,
    on_line: Callable[[str], None] = lambda line: None,
) -> Ended:
    """Run a program to its end; it and all it starts are killed when its time is up, or when this process dies.

    Args:
        command: Program and arguments; no shell reads them.
        environment: All of its variables.
        folder: Where it runs.
        seconds: Most that it may take.
        on_line: Called with every line as it is written.
    """
    lifeline = Lifeline.open()
    try:
        process = subprocess.Popen(  # noqa: S603 - no shell
            list(command),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=dict(environment),
            cwd=folder,
            pass_fds=[lifeline.reader],
            start_new_session=True,
        )
        lifeline.tie(process.pid)
        return _watch(process, seconds, on_line)
    finally:
        # Also reached by an interruption of this program: the child and its children end with it.
        lifeline.cut()


def _watch(process: subprocess.Popen[bytes], seconds: float, on_line: Callable[[str], None]) -> Ended:
    timed_out = threading.Event()

    def kill() -> None:
        timed_out.set()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)

    timer = threading.Timer(seconds, kill)
    timer.daemon = True
    timer.start()
    kept: deque[str] = deque(maxlen=MAX_LINES)
    try:
        assert process.stdout is not None  # noqa: S101 - it was asked for
        while piece := process.stdout.readline(64 * 1024):
            line = _CONTROL.sub("", piece.decode("utf-8", "backslashreplace")).rstrip()[:MAX_LINE_CHARACTERS]
            if line:
                kept.append(line)
                on_line(line)
        code = process.wait()
    except BaseException:
        kill()
        process.wait()
        raise
    finally:
        timer.cancel()
        if process.stdout is not None:
            process.stdout.close()
    return Ended(code, timed_out.is_set(), tuple(kept))


def is_disk_full(ended: Ended) -> bool:
    """Return whether a step says that it could not write for want of room."""
    return any("No space left on device" in line or "Disk quota exceeded" in line for line in ended.lines)


def failed_step(what: str, ended: Ended, seconds: float, folder: Path) -> Stop:
    """Return the error of a step that did not pass.

    Args:
        what: What was attempted.
        ended: How it ended.
        seconds: Most that it was allowed to take.
        folder: Where it wrote.
    """
    if is_disk_full(ended):
        free = shutil.disk_usage(folder).free / 1e9
        return Stop(
            f"{what}: the disk of the store is full ({free:.1f} GB are free at {folder}); make room there, or name "
            "another directory with --store DIR. Nothing was installed"
        )
    last = "\n".join(f"  {line}" for line in ended.lines[-MAX_SHOWN_LINES:]) or "  it wrote nothing"
    exit_text = describe_exit(ended.exit_code) if ended.exit_code < 0 else f"exit code {ended.exit_code}"
    how = f"took longer than {seconds:g} s and was ended" if ended.timed_out else f"failed ({exit_text})"
    return Stop(f"{what} {how}; nothing was installed. Its last lines:\n{last}")
