"""A child process that answers frames, with a deadline for every answer and a limit on the memory of its whole tree.

Native code of others runs in such a child: a crash, a hang or a leak ends the child, and its parent is told which.
"""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Final

from hpi_agent.processes.child_end import ERROR_KINDS
from hpi_agent.processes.frames import BlockingChannel, Buffer, Frame
from hpi_agent.processes.last_words import LastWords
from hpi_agent.processes.lifeline import Lifeline
from hpi_agent.processes.watchdog import Cause, Ending, Watchdog
from hpi_core.errors import Bug, EngineFailed

SHUTDOWN_SECONDS: Final = 5.0
"""How long a child may take to end after its channel is closed, before it is killed."""
LAST_WORDS_SECONDS: Final = 1.0
"""How long the end of a dead child's output is waited for; a stray that still holds the pipe is not waited for."""
ENVIRONMENT: Final = {
    "PYTHONSAFEPATH": "1",
    # ONNX Runtime posts telemetry unless this is set before its first import (1.29 and later).
    "ORT_DISABLE_TELEMETRY": "1",
}
MEGABYTE: Final = 2**20


class ChildFailed(EngineFailed):
    """A child process gave no answer.

    Attributes:
        cause: `crashed` (a signal, or what it wrote is no frame), `hung` (no answer in time), `memory` (beyond its
            limit) or `ended` (it exited, or could not start).
    """

    def __init__(self, message: str, cause: Cause) -> None:
        self.cause: Cause = cause
        super().__init__(message)


class Child:
    """One child process. `ask` may be called from several threads: the questions are asked one after the other."""

    def __init__(self, process: subprocess.Popen[bytes], connection: socket.socket, lifeline: Lifeline) -> None:
        self._process = process
        self._connection = connection
        self._lifeline = lifeline
        self._channel = BlockingChannel(connection)
        self._asking = threading.Lock()
        self._failure: tuple[str, Cause] | None = None
        self._closed = False
        self.name = ""
        self._memory_bytes: int | None = None

    @classmethod
    def start(
        cls,
        command: Sequence[str],
        *,
        memory_bytes: int | None,
        environment: Mapping[str, str] | None = None,
        name: str,
        pass_fds: Sequence[int] = (),
    ) -> Child:
        """Start a child; it may still be importing when this returns.

        Args:
            command: Program and arguments; the number of the child's end of the channel is added as the last argument.
            memory_bytes: Most that the child and all its descendants may take together; None: measured, not limited.
            environment: Variables beside those of this process.
            name: What the child is called in errors: `openvino`, `conversion of x`.
            pass_fds: Open files that the child is given beside its channel.

        Raises:
            ChildFailed: The program cannot be started.
        """
        ours, theirs = socket.socketpair()
        lifeline = Lifeline.open()
        try:
            process = subprocess.Popen(  # noqa: S603 - a program of ours, no shell
                [*command, str(theirs.fileno())],
                pass_fds=[theirs.fileno(), lifeline.reader, *pass_fds],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                env={**os.environ, **ENVIRONMENT, **(environment or {})},
                start_new_session=True,
            )
        except OSError as error:
            ours.close()
            lifeline.cut()
            raise ChildFailed(
                f"{name} cannot be started: {error}; repair the environment it runs in", "ended"
            ) from error
        finally:
            theirs.close()
        child = cls(process, ours, lifeline)
        try:
            child._watch(name, memory_bytes)
        except BaseException:
            process.kill()
            process.wait()
            raise
        return child

    def _watch(self, name: str, memory_bytes: int | None) -> None:
        self.name = name
        self._memory_bytes = memory_bytes
        self._lifeline.tie(self._process.pid)
        _forbid_core_files(self._process.pid)
        assert self._process.stdout is not None  # noqa: S101 - it was asked for
        # Taken from Popen, which would close it under the reader.
        self._output = LastWords(os.dup(self._process.stdout.fileno()), name)
        self._process.stdout.close()
        self._watchdog = Watchdog(self._process, self._connection, memory_bytes)

    @property
    def pid(self) -> int:
        """Number of the process."""
        return self._process.pid

    @property
    def peak_memory_bytes(self) -> int:
        """Most that the whole tree took when it was looked at, every 50 ms: see `process_tree` for what counts."""
        return self._watchdog.peak_memory_bytes

    @property
    def output(self) -> str:
        """The end of what the child wrote on its standard output and error, at most 64 KiB."""
        return self._output.text

    def ask(self, header: dict[str, Any], buffers: Sequence[Buffer] = (), *, timeout_seconds: float) -> Frame:
        """Send one question and return its answer.

        Args:
            header: `kind` names the handler of the child.
            buffers: Bytes that go with it.
            timeout_seconds: When the child is killed for not having answered, from the moment the question is sent.

        Raises:
            ChildFailed: The child crashed, hung, exceeded its memory, ended, or wrote what is no frame; it is gone, and
                every later question fails with the same text.
            HpiError: What the child's handler raised, of the same class.
        """
        with self._asking:
            if self._failure is not None:
                raise ChildFailed(*self._failure)
            kind = str(header.get("kind"))
            self._watchdog.arm(time.monotonic() + timeout_seconds)
            frame = self._exchange(header, buffers, kind)
            if frame is None:
                raise self._fail(self._watchdog.wait(SHUTDOWN_SECONDS), kind, timeout_seconds)
            self._watchdog.disarm()
        _raise_error_of(frame)
        return frame

    def close(self) -> None:
        """Let the child end by itself, kill it when it does not, and free everything; a second call does nothing."""
        if self._closed:
            return
        self._closed = True
        # Not connected any more: it has ended already.
        with contextlib.suppress(OSError):
            self._connection.shutdown(socket.SHUT_WR)
        self._watchdog.wait(SHUTDOWN_SECONDS)
        self._lifeline.cut()
        with self._asking:
            self._failure = self._failure or (f"{self.name} is closed; start it again", "ended")
            self._connection.close()

    def __enter__(self) -> Child:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _exchange(self, header: dict[str, Any], buffers: Sequence[Buffer], kind: str) -> Frame | None:
        # A child that is gone may have answered before, with the reason why.
        with contextlib.suppress(OSError):
            self._channel.send(header, buffers)
        try:
            frame = self._channel.receive()
            if frame is not None and not isinstance(frame.header, dict):
                raise ValueError(f"the header is {type(frame.header).__name__}")
        except OSError:
            return None
        except (Bug, ValueError, MemoryError, RecursionError) as error:
            self._watchdog.wait(0)
            raise self._failed(f"wrote what is no answer to {kind!r} ({error}) and was killed", "crashed") from error
        return frame

    def _fail(self, ending: Ending, kind: str, timeout_seconds: float) -> ChildFailed:
        if self._closed:
            return self._failed(f"was closed while it answered {kind!r}", "ended")
        said = {
            "hung": f"gave no answer to {kind!r} within {timeout_seconds:g} s and was killed",
            "memory": (
                f"took {ending.memory_bytes / MEGABYTE:.0f} MiB of memory while it answered {kind!r}, more than the "
                f"{(self._memory_bytes or 0) / MEGABYTE:.0f} MiB allowed, and was killed"
            ),
            "crashed": f"{describe_exit(ending.exit_code)} while it answered {kind!r}",
            "ended": f"ended with {describe_exit(ending.exit_code)} before it answered {kind!r}",
        }
        return self._failed(said[ending.cause], ending.cause)

    def _failed(self, said: str, cause: Cause) -> ChildFailed:
        self._output.wait(LAST_WORDS_SECONDS)
        last = self._output.last_line
        words = f"its last words: {last!r}" if last else "it wrote nothing"
        self._failure = (f"{self.name} {said}; {words}. {ADVICE[cause]}", cause)
        return ChildFailed(*self._failure)


ADVICE: Final[Mapping[Cause, str]] = {
    "crashed": "Choose another backend for this model, or another version of this one",
    "hung": "Choose another backend, or allow more time",
    "memory": "Choose another backend, or allow more memory",
    "ended": "Read its last words, repair what they name and start it again",
}


def describe_exit(code: int) -> str:
    """Return an exit code of `subprocess` in words: `exit code 1`, `was killed by SIGKILL`."""
    if code >= 0:
        return f"exit code {code}"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    hint = " (not by its watchdog; out of memory?)" if name == "SIGKILL" else ""
    return f"was killed by {name}{hint}"


def _raise_error_of(frame: Frame) -> None:
    if "error" not in frame.header:
        return
    kind = ERROR_KINDS.get(str(frame.header.get("kind")), Bug)
    raise kind(str(frame.header["error"]))


def _forbid_core_files(pid: int) -> None:
    try:
        resource.prlimit(pid, resource.RLIMIT_CORE, (0, 0))
    except ProcessLookupError:
        # It has ended already.
        return
