"""One installation of a runtime in a child process, bounded in memory and time; its steps are told as they come."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final

from hpi_agent.node.install_runtime import FAILED, INSTALLED
from hpi_agent.processes.interpreter import command_for
from hpi_agent.processes.lifeline import Lifeline
from hpi_agent.processes.watchdog import Watchdog
from hpi_core.api.v1alpha1.node import WantedRuntime
from hpi_core.errors import Retry, Stop

MODULE: Final = "hpi_agent.node.install_runtime"
MAX_LINE_BYTES: Final = 64 * 1024
LAST_LINES: Final = 4
END_SECONDS: Final = 30.0

AGENT_BYTES: Final = 160 * 2**20
"""For the agent itself: three times what it takes at rest."""
LEAST_BYTES: Final = 256 * 2**20
MOST_BYTES: Final = 2 * 2**30
"""Enough for pip, and for a self-test that loads every engine."""

SENTENCES: Final[Mapping[str, str]] = {
    "environment": "making an environment",
    "fetching": "fetching package {number} of {of}",
    "unpacking": "unpacking {packages} packages",
    "compiling": "compiling their modules",
    "testing": "testing it, at most {limitSeconds} s",
    "publishing": "putting it in its place",
    "waiting": "another process installs the same",
}


@dataclass(frozen=True)
class Bounds:
    """What one installation may take."""

    memory_bytes: int
    """Of the child and all that it starts."""
    seconds: float


def memory_left(available_bytes: int | None) -> int:
    """Return what an installation may take of what a container may have; the rest is the agent's.

    Args:
        available_bytes: The container's limit, or the machine's memory; None: nobody knows.
    """
    if available_bytes is None:
        return MOST_BYTES
    return max(LEAST_BYTES, min(MOST_BYTES, available_bytes - AGENT_BYTES))


@dataclass(frozen=True)
class Origin:
    """Where wheels and lists come from, and where environments go."""

    store: Path
    configs: Path
    wheelhouse: Path
    """Where this folder is there all wheels come from it; else from an index."""

    @property
    def wheels(self) -> Path | None:
        """The wheelhouse as it is now; None: an index."""
        return self.wheelhouse if self.wheelhouse.is_dir() else None


def install_in_child(wanted: WantedRuntime, origin: Origin, bounds: Bounds, step: Callable[[str], None]) -> None:
    """Install a runtime; return when it is there.

    Args:
        wanted: Which.
        origin: From where, and where to.
        bounds: What it may take.
        step: Told of each step in words.

    Raises:
        Retry: It takes too much memory or time, or did not end in order.
        Stop: The child says why it cannot.
    """
    wheels = origin.wheels
    places = [str(origin.store), str(origin.configs), *([] if wheels is None else [str(wheels)])]
    lifeline = Lifeline.open()
    ours, theirs = socket.socketpair()
    try:
        process = subprocess.Popen(  # noqa: S603 - our own interpreter and module, no shell
            command_for(MODULE, str(wanted.variant), wanted.lock_digest, *places),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            pass_fds=[lifeline.reader],
            # What pip keeps for the next time would fill the agent's scratch volume, and get its pod evicted.
            env={**os.environ, "PYTHONSAFEPATH": "1", "PIP_NO_CACHE_DIR": "1"},
            start_new_session=True,
        )
        lifeline.tie(process.pid)
        watchdog = Watchdog(process, ours, bounds.memory_bytes)
        watchdog.arm(time.monotonic() + bounds.seconds)
        assert process.stdout is not None  # noqa: S101 - it was asked for
        with contextlib.closing(process.stdout):
            outcome = _follow(process.stdout, step)
        ending = watchdog.wait(END_SECONDS if outcome else bounds.seconds)
    except OSError as error:
        raise Retry(f"the installer cannot be started: {error.strerror or error}") from error
    finally:
        lifeline.cut()
        ours.close()
        theirs.close()
    if ending.cause == "memory":
        raise Retry(
            f"it was ended beyond {bounds.memory_bytes / 2**20:.0f} MiB of memory: raise the memory limit of the node "
            "agents"
        )
    if ending.cause == "hung":
        raise Retry(f"it was ended after {bounds.seconds:.0f} s")
    if outcome.get("event") == FAILED:
        raise Stop(str(outcome.get("message")))
    if outcome.get("event") != INSTALLED or ending.exit_code != 0:
        raise Retry(f"the installer ended with {ending.exit_code} and did not say why")


def _follow(output: IO[bytes], step: Callable[[str], None]) -> dict[str, Any]:
    """Tell of each step, and return the last word; empty where there is none."""
    last: deque[dict[str, Any]] = deque(maxlen=LAST_LINES)
    while line := output.readline(MAX_LINE_BYTES):
        try:
            said = json.loads(line)
        except ValueError:
            continue
        if not isinstance(said, dict):
            continue
        last.append(said)
        sentence = SENTENCES.get(str(said.get("event")))
        if sentence is not None:
            step(sentence.format_map(said))
    return last[-1] if last and last[-1].get("event") in (INSTALLED, FAILED) else {}
