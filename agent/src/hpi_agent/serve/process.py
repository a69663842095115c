"""One worker process, seen from the server: its start, its answers, its end."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from hpi_agent.processes.frames import Buffer, Frame, encode
from hpi_agent.serve.channel import StreamChannel
from hpi_agent.serve.outcome import WorkerDied
from hpi_core.errors import Stop

SHUTDOWN_SECONDS: Final = 5.0
"""How long an idle worker may take to end before it is killed."""


class WorkerEnded(Stop):
    """A worker ended before it was ready, without a word of its own."""


@dataclass(frozen=True)
class WorkerCommand:
    """How a worker is started."""

    start_header: dict[str, Any]
    """First frame: the manifest, its name, the store, the threads and the samples."""
    ready_seconds: float
    """How long it may take until the worker has proved that it answers; fetching models does not count."""
    arguments: tuple[str, ...] = (sys.executable, "-m", "hpi_agent.serve.worker")


@dataclass
class Worker:
    """One worker process, from its start to its end."""

    process: subprocess.Popen[bytes]
    connection: socket.socket
    channel: StreamChannel | None = None
    pending: dict[int, asyncio.Future[Frame]] = field(default_factory=dict)
    description: dict[str, Any] | None = None
    """What the worker said when it was ready."""

    @classmethod
    def spawn(cls, command: WorkerCommand) -> Worker:
        """Start a process; it does nothing before `begin`."""
        ours, theirs = socket.socketpair()
        with theirs:
            process = subprocess.Popen(  # noqa: S603 - our own interpreter and module, no shell
                [*command.arguments, str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                # Standard output belongs to the server's own messages.
                stdout=sys.stderr.fileno(),
                # ONNX Runtime posts telemetry unless this is set before its first import (1.29 and later).
                env={**os.environ, "PYTHONSAFEPATH": "1", "ORT_DISABLE_TELEMETRY": "1"},
                # A group of its own: Ctrl-C and the shell's signals go to the server, which drains first.
                start_new_session=True,
            )
        # Written before the event loop exists, so that the worker loads while the server itself is imported.
        ours.sendall(b"".join(bytes(piece) for piece in encode(command.start_header)))
        ours.setblocking(False)
        return cls(process, ours)

    async def begin(self, ready_seconds: float, on_event: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
        """Wait until the worker is ready and return what it says of itself.

        Args:
            ready_seconds: How long it may take, from when it has the files of its models.
            on_event: Receives what it tells while they come.

        Raises:
            asyncio.TimeoutError: It took longer.
            WorkerEnded: The worker ended: an engine has crashed it, or somebody has killed it.
            Stop: The worker refused to start.
        """
        self.channel = await StreamChannel.open(self.connection)
        limit: float | None = ready_seconds
        while True:
            frame = await asyncio.wait_for(self.channel.receive(), limit)
            if frame is None:
                code = await asyncio.to_thread(self.process.wait)
                raise WorkerEnded(
                    f"the worker ended before it was ready ({describe_exit(code)}); its messages are above"
                )
            event = frame.header.get("event")
            if event == "ready":
                self.description = frame.header
                return frame.header
            if event not in ("fetching", "fetched", "assembled"):
                raise Stop(str(frame.header.get("error")))
            # How long a download may take is bounded by its own rules: a large model is no engine that hangs.
            limit = None if event == "fetching" else ready_seconds
            if event != "assembled":
                on_event(dict(frame.header))

    async def read_answers(self, on_event: Callable[[dict[str, Any]], None]) -> None:
        """Hand each answer to whoever waits for it, and each event to `on_event`, until the worker is gone."""
        assert self.channel is not None  # noqa: S101 - begin() has run
        while (frame := await self.channel.receive()) is not None:
            if "event" in frame.header:
                on_event(frame.header)
                continue
            waiting = self.pending.pop(frame.header["id"], None)
            if waiting is not None and not waiting.done():
                waiting.set_result(frame)

    async def ask(self, header: dict[str, Any], buffers: Sequence[Buffer]) -> Frame:
        """Send one request and return its answer.

        Raises:
            WorkerDied: The worker ended first.
        """
        assert self.channel is not None  # noqa: S101 - begin() has run
        answer: asyncio.Future[Frame] = asyncio.get_running_loop().create_future()
        self.pending[header["id"]] = answer
        try:
            await self.channel.send(header, buffers)
            return await answer
        except OSError as error:
            raise WorkerDied("the worker process is gone; it is being replaced, send the request again") from error
        finally:
            self.pending.pop(header["id"], None)

    async def end(self, *, kill: bool = False) -> int:
        """End the process and return its exit code; requests still waiting fail with WorkerDied."""
        if kill and self.process.poll() is None:
            self.process.kill()
        if self.channel is not None:
            self.channel.close()
        else:
            self.connection.close()
        try:
            code = await asyncio.to_thread(self.process.wait, SHUTDOWN_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            code = await asyncio.to_thread(self.process.wait)
        for waiting in self.pending.values():
            if not waiting.done():
                waiting.set_exception(
                    WorkerDied(
                        f"the worker process ended ({describe_exit(code)}) while it served this request; it is being "
                        "replaced. Send the request again, unless this input ends it every time"
                    )
                )
        return code


def describe_exit(code: int) -> str:
    """Return an exit code of `subprocess` in words: `exit code 1`, `killed by SIGKILL`."""
    if code >= 0:
        return f"exit code {code}"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    hint = "; out of memory?" if name == "SIGKILL" else ""
    return f"killed by {name}{hint}"
