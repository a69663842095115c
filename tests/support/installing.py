"""A process that installs the variant `tiny`, one JSON line per step: python installing.py CONFIGS WHEELHOUSE STORE."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hpi_agent.plugins.install import Wish, install
from hpi_agent.store.directory import Store
from hpi_core.errors import HpiError


def start_installer(configs: Path, wheelhouse: Path, store: Path, before: Sequence[str] = ()) -> subprocess.Popen[str]:
    """Start the process, behind the words of another command where some are given."""
    command = [*before, sys.executable, __file__, str(configs), str(wheelhouse), str(store)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def wait_for(process: subprocess.Popen[str], event: str) -> list[str]:
    """Read what an installer says up to an event; return the events, which end with it."""
    assert process.stdout is not None
    events: list[str] = []
    for line in process.stdout:
        events.append(json.loads(line)["event"])
        if events[-1] == event:
            return events
    raise AssertionError(f"the installer ended after {events}")


def last_event(process: subprocess.Popen[str]) -> dict[str, Any]:
    """Return the last thing that an installer says before it ends."""
    output, _ = process.communicate()
    last: dict[str, Any] = json.loads(output.splitlines()[-1])
    return last


def say(event: str, facts: Mapping[str, Any]) -> None:
    """Write one line."""
    print(json.dumps({"event": event, **facts}), flush=True)


def main(configs: str, wheelhouse: str, store: str) -> None:
    """Install and say where, or why not."""
    wish = Wish("tiny", Path(configs), dict(os.environ), wheelhouse=Path(wheelhouse))
    try:
        say("installed", {"python": str(install(Store(Path(store)), wish, say).python)})
    except HpiError as error:
        say("failed", {"kind": type(error).__name__, "text": str(error)})


if __name__ == "__main__":
    main(*sys.argv[1:])
