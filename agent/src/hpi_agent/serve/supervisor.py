"""The queue in front of the worker, and the worker's replacement when it dies.

One request is in service at a time, because a PaddleX predictor is not safe to call from two threads and one inference
already uses every core. The others wait in one bounded queue, first come first served.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Final

from hpi_agent.processes.frames import Buffer, Frame
from hpi_agent.serve.outcome import DeadlinePassed
from hpi_agent.serve.process import Worker, WorkerCommand, WorkerEnded, describe_exit
from hpi_core.errors import Overloaded, Stop

log: Final = logging.getLogger("hpi.server")

BACKOFF_SECONDS: Final = (0.0, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
"""Pauses before the worker is started again, by the number of deaths since its last answer."""

DEATHS_UNTIL_CAUTION: Final = 2
"""Deaths without an answer between them after which a worker is started without the engines of the store."""


@dataclass
class Supervisor:
    """Keeps one worker alive and queues requests for it.

    Attributes:
        command: How a worker is started.
        queue_length: Requests that may wait; 0 admits a request only when the worker is idle.
        request_seconds: From admission to answer; later the client gets no answer any more.
        on_ready: Called with the worker's description each time one is ready.
        on_restart: Called each time a worker is replaced.
        on_event: Called with what a worker tells by itself, such as a change of engines.
    """

    command: WorkerCommand
    queue_length: int
    request_seconds: float
    on_ready: Callable[[dict[str, Any]], None]
    on_restart: Callable[[], None]
    on_event: Callable[[dict[str, Any]], None] = lambda _: None
    waiting: int = 0
    in_service: int = 0
    restarts: int = 0
    draining: bool = False
    failure: Stop | None = None
    """Why the first worker could not start; nothing is served then."""
    worker: Worker | None = None
    _ready: asyncio.Event = field(default_factory=asyncio.Event)
    _was_ready: bool = False
    _turn: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(1))
    _mean_seconds: float = 1.0
    _next_id: int = 0
    _deaths: int = 0
    _tasks: set[asyncio.Task[Any]] = field(default_factory=set)

    @property
    def is_ready(self) -> bool:
        """Whether a worker has proved that it answers, and new requests are taken."""
        return self._ready.is_set() and not self.draining

    async def run(self, first: Worker) -> None:
        """Keep a worker alive until cancelled; the first one is spawned by the caller.

        Raises:
            Stop: No worker could start.
        """
        self.worker = first
        while True:
            try:
                description = await self.worker.begin(self.command.ready_seconds, self.on_event)
            except (Stop, asyncio.TimeoutError) as error:
                await self._start_failed(error)
                continue
            self._ready.set()
            self._was_ready = True
            self.on_ready(description)
            await self.worker.read_answers(self.on_event)
            self._ready.clear()
            code = await self.worker.end()
            log.error("the worker ended and is replaced: %s", describe_exit(code))
            await self._replace()

    async def _start_failed(self, error: BaseException) -> None:
        assert self.worker is not None  # noqa: S101 - set by run()
        await self.worker.end(kill=True)
        reason = (
            str(error)
            if isinstance(error, Stop)
            else f"the worker was not ready within {self.command.ready_seconds:.0f} s (spec.build.timeoutSeconds)"
        )
        if self._was_ready:
            log.error("the worker could not be replaced: %s", reason)
        elif isinstance(error, WorkerEnded) and not self._is_cautious:
            # An engine of the store that crashes its worker would keep every server on this store from starting.
            log.error("%s; it is started once more without the engines of the store", reason)
            self._deaths = DEATHS_UNTIL_CAUTION
        else:
            self.failure = Stop(reason)
            raise self.failure
        await self._replace()

    async def _replace(self) -> None:
        pause = BACKOFF_SECONDS[min(self._deaths, len(BACKOFF_SECONDS) - 1)]
        self._deaths += 1
        self.restarts += 1
        self.on_restart()
        await asyncio.sleep(pause)
        self.worker = Worker.spawn(self._next_command())

    @property
    def _is_cautious(self) -> bool:
        # An engine that ends its worker again and again must not come back from the store with every replacement.
        return self._deaths > DEATHS_UNTIL_CAUTION

    def _next_command(self) -> WorkerCommand:
        header = {**self.command.start_header, "cautious": self._is_cautious}
        return replace(self.command, start_header=header)

    @asynccontextmanager
    async def place(self) -> AsyncIterator[Place]:
        """Hold one of the places that requests have, before their bodies are read.

        Raises:
            Overloaded: Every place is taken; the seconds until one is free are estimated from the mean service time.
        """
        if self.draining:
            raise Overloaded("the server is shutting down; another replica will answer", 1)
        taken = self.waiting + self.in_service
        if taken > self.queue_length:
            seconds = math.ceil(self._mean_seconds * taken)
            raise Overloaded(
                f"{self.in_service} request in service and {self.waiting} waiting; at most {self.queue_length} may "
                f"wait (spec.serving.queue.length). Try again in {max(1, seconds)} s",
                seconds,
            )
        self.waiting += 1
        place = Place(self)
        try:
            yield place
        finally:
            if not place.left_queue:
                self.waiting -= 1

    async def _serve(self, place: Place, header: dict[str, Any], buffers: Sequence[Buffer]) -> Frame:
        """Wait for the turn and the worker, and return the answer."""
        async with self._turn:
            await self._ready.wait()
            place.left_queue = True
            self.waiting -= 1
            self.in_service += 1
            try:
                return await self._ask(header, buffers)
            finally:
                self.in_service -= 1

    async def _ask(self, header: dict[str, Any], buffers: Sequence[Buffer]) -> Frame:
        worker = self.worker
        assert worker is not None  # noqa: S101 - ready implies a worker
        self._next_id += 1
        loop = asyncio.get_running_loop()
        started = loop.time()
        # The client gives up after `request_seconds`; a worker that needs twice as long hangs, and is replaced.
        hung = loop.call_later(2 * self.request_seconds, worker.process.kill)
        try:
            frame = await worker.ask({**header, "id": self._next_id}, buffers)
        finally:
            hung.cancel()
        self._deaths = 0
        self._mean_seconds += 0.2 * (loop.time() - started - self._mean_seconds)
        return frame

    async def close(self, running: asyncio.Task[None]) -> None:
        """End the worker; requests in service have been answered or given up by now."""
        self.draining = True
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError, Stop):
            await running
        for task in self._tasks:
            task.cancel()
        if self.worker is not None:
            await self.worker.end(kill=self.in_service > 0 or self.worker.description is None)


@dataclass
class Place:
    """One request's place: first in the queue, then in service."""

    supervisor: Supervisor
    left_queue: bool = False

    async def ask(self, header: dict[str, Any], buffers: Sequence[Buffer]) -> Frame:
        """Return the worker's answer.

        A caller that is cancelled while it waits gives its place back. One that is cancelled in service leaves its
        request with the worker, which cannot be interrupted: the next turn comes when that request is done.

        Raises:
            DeadlinePassed: `request_seconds` are over.
            WorkerDied: The worker ended while it served this request.
        """
        supervisor = self.supervisor
        task = asyncio.create_task(supervisor._serve(self, header, buffers))
        supervisor._tasks.add(task)
        task.add_done_callback(supervisor._tasks.discard)
        try:
            return await asyncio.wait_for(asyncio.shield(task), supervisor.request_seconds)
        except asyncio.TimeoutError:
            where = "in service" if self.left_queue else "in the queue"
            raise DeadlinePassed(
                f"no answer within {supervisor.request_seconds:.0f} s (spec.serving.timeouts.requestSeconds); the "
                f"request was {where}"
            ) from None
        finally:
            if not self.left_queue:
                task.cancel()
            # An error that comes after the caller has gone is nobody's; without this it would be logged as lost.
            task.add_done_callback(lambda done: done.cancelled() or done.exception())
