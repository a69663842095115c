"""The start of a worker, seen from the server: fetching models takes its own time, and is told."""

from __future__ import annotations

import asyncio
import json
import socket
import subprocess
import sys
from typing import Any

import pytest

from hpi_agent.processes.frames import BlockingChannel
from hpi_agent.serve.process import Worker
from hpi_core.errors import Stop

FETCHING = {"event": "fetching", "model": "det", "doneBytes": 1, "totalBytes": 2, "waiting": False}
FETCHED = {"event": "fetched", "model": "det", "notes": ["a note"]}
READY = {"event": "ready", "models": []}

READY_SECONDS = 0.3


class Started:
    """A worker whose words come from the test."""

    def __init__(self) -> None:
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        self.says = BlockingChannel(theirs)
        self.theirs = theirs
        self.worker = Worker(subprocess.Popen([sys.executable, "-c", ""]), ours)
        self.told: list[dict[str, Any]] = []

    async def begin(self, *events: tuple[float, dict[str, Any]]) -> dict[str, Any]:
        """Begin while the worker says things, each after a pause in seconds."""
        task = asyncio.create_task(self.worker.begin(READY_SECONDS, self.told.append))
        try:
            for pause, event in events:
                await asyncio.wait([task], timeout=pause)
                if not task.done():
                    self.says.send(event)
            return await task
        finally:
            await self.worker.end(kill=True)
            self.theirs.close()


def begun(*events: tuple[float, dict[str, Any]]) -> tuple[Started, dict[str, Any]]:
    started = Started()

    async def run() -> dict[str, Any]:
        return await started.begin(*events)

    return started, asyncio.run(run())


def test_what_a_worker_tells_while_it_fetches_is_passed_on() -> None:
    started, description = begun((0, FETCHING), (0, FETCHED), (0, {"event": "assembled"}), (0, READY))

    assert started.told == [FETCHING, FETCHED]
    assert json.dumps(description) == json.dumps(READY)


def test_the_time_to_be_ready_does_not_run_while_models_come() -> None:
    _, description = begun((0, FETCHING), (2 * READY_SECONDS, FETCHED), (0, {"event": "assembled"}), (0, READY))

    assert description["event"] == "ready"


def test_the_time_to_be_ready_runs_again_once_they_are_there() -> None:
    with pytest.raises(asyncio.TimeoutError):
        begun((0, FETCHING), (0, {"event": "assembled"}), (2 * READY_SECONDS, READY))


def test_a_worker_that_says_nothing_is_not_waited_for() -> None:
    with pytest.raises(asyncio.TimeoutError):
        begun((2 * READY_SECONDS, READY))


def test_a_worker_that_cannot_start_says_why() -> None:
    with pytest.raises(Stop, match="the source is gone"):
        begun((0, {"event": "failed", "error": "the source is gone", "kind": "SourceFailed"}))
