"""The builder beside a server: `hpi-agent build` at low priority, repeated while its choices are provisional."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from hpi_agent.processes.lifeline import Lifeline
from hpi_agent.serve.process import describe_exit

PAUSES_SECONDS: Final = (60.0, 300.0, 900.0, 3600.0)
"""Pauses before a provisional choice is made again; the last one repeats."""

MAX_LINE_BYTES: Final = 2**20


@dataclass(frozen=True)
class BuildCommand:
    """How the builder is started."""

    arguments: tuple[str, ...]
    """Arguments of `hpi-agent build`, without the file, which comes on standard input."""
    manifest: str

    @property
    def command(self) -> list[str]:
        """The whole command line."""
        return [sys.executable, "-m", "hpi_agent", "build", "-f", "-", "-o", "json", "--background", *self.arguments]


@dataclass
class BackgroundBuild:
    """Runs the builder once what it would build is known to be missing.

    Attributes:
        command: How it is started.
        tell: Receives `building` with the builder's own events, and `built` at the end of each run.
    """

    command: BuildCommand
    tell: Callable[[str, dict[str, Any]], None]
    ended: bool = False
    _lifeline: Lifeline | None = None

    async def run(self, description: dict[str, Any]) -> None:
        """Build until every model's choice is measured in quiet; return at once when that is so already."""
        if all(model["state"] == "Measured" for model in description["models"]):
            return
        attempt = 0
        while not await self._build_once():
            pause = PAUSES_SECONDS[min(attempt, len(PAUSES_SECONDS) - 1)]
            attempt += 1
            await asyncio.sleep(pause)

    async def _build_once(self) -> bool:
        """Run the builder to its end and tell how it ended; return whether nothing is left to do."""
        try:
            code, provisional = await self._run_builder()
        except (OSError, ValueError) as error:
            # It cannot be started, or says what is no event: neither is a reason to stop serving.
            self._tell_end(None, f"it cannot be followed: {type(error).__name__}: {error}")
            return False
        if code == 0:
            self._tell_end(0, "it decided for every model")
            return not provisional
        if code > 0:
            # What every candidate failed at would fail again at once.
            self._tell_end(code, f"{describe_exit(code)}; its messages are above")
            return True
        self._tell_end(code, f"{describe_exit(code)}; it is started again after a pause")
        return False

    def _tell_end(self, code: int | None, reason: str) -> None:
        if not self.ended:
            self.tell("built", {"exitCode": code, "reason": reason})

    async def _run_builder(self) -> tuple[int, bool]:
        """Return the builder's exit code, and whether it has to be run again when the machine is quiet.

        Raises:
            OSError: It cannot be started.
            ValueError: A line of its output is no event.
        """
        self._lifeline = lifeline = Lifeline.open()
        try:
            process = await asyncio.create_subprocess_exec(
                *self.command.command,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=sys.stderr.fileno(),
                # A group of its own: the shell's signals go to the server, which ends the builder itself.
                start_new_session=True,
                pass_fds=[lifeline.reader],
                limit=MAX_LINE_BYTES,
            )
            lifeline.tie(process.pid)
            try:
                provisional = await self._follow(process)
                return await process.wait(), provisional
            finally:
                # Does nothing when it has ended by itself.
                lifeline.cut()
                await process.wait()
        finally:
            lifeline.cut()

    async def _follow(self, process: asyncio.subprocess.Process) -> bool:
        assert process.stdin is not None  # noqa: S101 - both are pipes
        assert process.stdout is not None  # noqa: S101
        process.stdin.write(self.command.manifest.encode())
        process.stdin.close()
        provisional = False
        async for line in process.stdout:
            event = json.loads(line)
            if event["event"] == "finished":
                provisional = bool(event["provisional"])
            if not self.ended:
                self.tell("building", event)
        return provisional

    def end(self) -> None:
        """End the builder and its candidates at once; whatever it was writing is left to the next publication."""
        self.ended = True
        if self._lifeline is not None:
            # Its candidates hang on lifelines of their own and go with it.
            self._lifeline.cut()
