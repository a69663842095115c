"""The progress of a build for people: a live line per model on a terminal, plain lines elsewhere, then a table."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import Any, Final

from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table

from hpi_agent.commands.fetch_display import FetchDisplay, fetching_text

STEPS: Final = {
    "convert": "converting Paddle's files to ONNX",
    "compare": "comparing the ONNX file with Paddle's files",
    "samples": "preparing samples",
    "reference": "asking the reference for its answers",
    "quiet": "waiting for a quiet machine",
    "build": "building",
    "load": "loading",
    "judge": "comparing answers",
    "time": "measuring",
    "passed": "passed",
    "failed": "failed",
    "waiting": "another process builds this model; waiting",
    "device": "another build uses the device; waiting",
    "held": "built elsewhere; waiting for the result",
    "agent": "the agent of this node",
}
PIPE_WIDTH: Final = 100_000
"""A pipe has no width: no line is ever folded or cut there. Unit: characters."""


class BuildDisplay:
    """Shows the events of one build on standard error."""

    def __init__(self) -> None:
        self._console = Console(
            stderr=True, highlight=False, markup=False, width=None if sys.stderr.isatty() else PIPE_WIDTH
        )
        self._live = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            TextColumn("{task.fields[doing]}"),
            TimeElapsedColumn(),
            TextColumn("{task.fields[left]}"),
            console=self._console,
            disable=not sys.stderr.isatty(),
        )
        self._tasks: dict[str, TaskID] = {}
        self._measured: set[str] = set()
        self._is_news = False
        self._fetching = FetchDisplay()

    def __enter__(self) -> BuildDisplay:
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()

    def show(self, event: dict[str, Any]) -> None:
        """Show one event."""
        name = event["event"]
        if name == "fetching":
            self._show_fetching(event)
        elif name == "fetched":
            self._show_fetched(event)
        elif name in ("model", "candidate"):
            self._show_step(event)
        elif name == "decided":
            self._finish(event)
        elif name == "finished":
            self._show_end(event)

    def _show_step(self, event: dict[str, Any]) -> None:
        doing = STEPS.get(event["step"], event["step"])
        who = event.get("candidate")
        text = f"{who}: {doing}" if who else doing
        if event["detail"]:
            text += f" ({event['detail']})"
        seconds = event["remainingSeconds"]
        left = f"about {seconds} s left" if seconds else ""
        if self._live.disable:
            self._print_step(event, text, left)
            return
        task = self._tasks.get(event["model"])
        if task is None:
            task = self._live.add_task(event["model"], total=None, doing="", left="")
            self._tasks[event["model"]] = task
        self._live.update(task, doing=text, left=left)
        if event["step"] == "failed":
            self._live.console.print(f"{event['model']}: {text}")

    def _show_fetching(self, event: dict[str, Any]) -> None:
        if self._live.disable:
            self._fetching.show(event)
            return
        text, model = fetching_text(event), event["model"]
        task = self._tasks.get(model)
        if task is None:
            task = self._live.add_task(model, total=None, doing="", left="")
            self._tasks[model] = task
        self._live.update(task, doing=text)

    def _show_fetched(self, event: dict[str, Any]) -> None:
        for note in event["notes"]:
            self._console.print(f"{event['model']}: {note}")

    def _print_step(self, event: dict[str, Any], text: str, left: str) -> None:
        if event["step"] == "time":
            # Every round of every candidate would be a hundred lines that say the same.
            if event["model"] in self._measured:
                return
            self._measured.add(event["model"])
            text = "measuring the candidates in turns"
        self._console.print(f"{event['model']}: {text}{'; ' + left if left else ''}")

    def _finish(self, event: dict[str, Any]) -> None:
        self._is_news |= not event["hit"]
        task = self._tasks.get(event["model"])
        if task is not None:
            self._live.update(task, total=1, completed=1, doing=event["summary"], left="")
        elif self._live.disable or event["hit"]:
            self._console.print(f"{event['model']}: {event['summary']}")

    def _show_end(self, event: dict[str, Any]) -> None:
        self._live.stop()
        table = Table(box=None, pad_edge=False, header_style="bold")
        for heading in ("MODEL", "SERVES", "PRECISION", "P50", "P99", "MEMORY", "WHY"):
            right = heading in ("P50", "P99", "MEMORY")
            table.add_column(heading, no_wrap=heading != "WHY", justify="right" if right else "left")
        for row in event["models"]:
            timing = row["timing"]
            figures = ("-", "-", "-")
            if timing is not None:
                figures = (
                    milliseconds(timing["p50Microseconds"]),
                    milliseconds(timing["p99Microseconds"]),
                    f"{timing['memoryBytes'] / 2**20:.0f} MiB",
                )
            table.add_row(row["model"], row["chosen"] or "nothing", row["precision"] or "-", *figures, row["reason"])
        self._console.print(table)
        done = f"built and measured in {event['seconds']:.0f} s; kept in"
        self._console.print(f"{done if self._is_news else 'all of it was decided before; it is in'} {event['store']}")
        for provisional in event["provisional"]:
            self._console.print(f"{provisional['model']}: provisional: {provisional['why']}")


def milliseconds(microseconds: int) -> str:
    """Return a time for people: two digits below 10 ms, whole milliseconds above."""
    value = microseconds / 1e3
    return f"{value:.2f} ms" if value < 10 else f"{value:.0f} ms"
