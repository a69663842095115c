"""What `hpi-agent install` tells while it works: a line per step for people on stderr, JSON lines for programs."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Final

from hpi_agent.plugins.environment import PluginEnvironment

UNWRAPPED_COLUMNS: Final = 100_000
"""Width when nobody looks: no line is ever folded."""

SENTENCES: Final[Mapping[str, str]] = {
    "chosen": "{variant}, {holds}: {list}, Python {python}",
    "waiting": "another process installs the same; waiting for it",
    "environment": "making an environment",
    "fetching": "fetching {package} {version} ({number} of {of})",
    "unpacking": "unpacking {packages} packages",
    "compiling": "compiling their modules",
    "testing": "testing it (at most {limitSeconds} s)",
    "tested": "the self-test passed: {report}",
    "publishing": "writing the manifest and putting it in its place",
    "present": "it is there already",
}


class JsonLines:
    """One JSON object per step on stdout."""

    def __init__(self) -> None:
        self._started = time.monotonic()

    def __enter__(self) -> JsonLines:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return

    def say(self, event: str, facts: Mapping[str, Any]) -> None:
        """Tell of one step."""
        seconds = round(time.monotonic() - self._started, 3)
        print(json.dumps({"event": event, "seconds": seconds, **facts}, ensure_ascii=False), flush=True)

    def installed(self, environment: PluginEnvironment) -> None:
        """Tell what is there now."""
        facts = {"variant": environment.name, "python": str(environment.python), "lock": environment.lock_digest}
        self.say("installed", {**facts, "versions": dict(environment.versions)})


class Steps:
    """A line per step on stderr, with the seconds since the start; a terminal also sees the one at work."""

    def __init__(self) -> None:
        from rich.console import Console

        self._started = time.monotonic()
        width = None if sys.stderr.isatty() else UNWRAPPED_COLUMNS
        self._console = Console(stderr=True, highlight=False, emoji=False, markup=False, width=width, soft_wrap=True)
        self._at_work = self._console.status("")

    def __enter__(self) -> Steps:
        self._at_work.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._at_work.stop()

    def say(self, event: str, facts: Mapping[str, Any]) -> None:
        """Tell of one step."""
        shown = {**facts, "report": _report_text(facts.get("report"))}
        text = SENTENCES[event].format_map(shown)
        self._at_work.update(text)
        # One line stands for all packages; a terminal shows which is on its way, a pipe tells the first of them.
        if event != "fetching" or (facts["number"] == 1 and not self._console.is_terminal):
            self._console.print(f"{time.monotonic() - self._started:6.1f} s  {text}")

    def installed(self, environment: PluginEnvironment) -> None:
        """Tell what is there now."""
        self._at_work.stop()
        self._console.print(f"{environment.name} is installed: {len(environment.versions)} packages")
        self._console.print(f"its Python: {environment.python}")


def _report_text(report: Mapping[str, Any] | None) -> str:
    return ", ".join(f"{name} {value}" for name, value in (report or {}).items())
