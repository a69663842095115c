"""What `hpi-agent serve` tells: tables and sentences for people on stderr, JSON lines for programs on stdout."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass, field
from operator import itemgetter
from typing import Any

from hpi_agent.commands.fetch_display import FetchDisplay


@dataclass(frozen=True)
class Announcer:
    """Speaks for one server."""

    output: str
    """`text` or `json`."""
    url: str
    name: str
    not_applicable: tuple[str, ...]
    _fetching: FetchDisplay = field(default_factory=FetchDisplay)

    def starting(self) -> None:
        """Say what was asked that this machine cannot honour, and that loading has begun."""
        if self.output == "json":
            self._line("starting", {"pipeline": self.name, "url": self.url, "notApplicable": list(self.not_applicable)})
            return
        for path in self.not_applicable:
            self._print(f"{path}: not applicable here; only a cluster honours it")
        self._print(f"pipeline {self.name}: loading its models …")

    def announce(self, event: str, facts: dict[str, Any]) -> None:
        """Tell of one event of the server."""
        if self.output == "json":
            # The builder's own events have names too, which are not the server's.
            self._line(event, {"progress": facts} if event == "building" else facts)
            if event == "ready":
                self._line("listening", {"url": self.url})
        elif event == "ready":
            self._show_engines(facts)
        elif event == "fetching":
            self._fetching.show(facts)
        elif event == "fetched":
            for note in facts["notes"]:
                self._print(f"{facts['model']}: {note}")
        elif event == "replaced":
            self._print(f"the worker is replaced (time {facts['restarts']}); requests wait meanwhile")
        elif event == "building":
            self._show_building(facts)
        elif event == "built":
            if facts["exitCode"] != 0:
                self._print(f"the builder beside the server ended: {facts['reason']}; the engines that serve stay")
        elif event == "engines":
            self._print(f"{facts['changed']}: changed over between two requests")
            self._show_table(facts)
        elif event == "kept":
            self._print(f"{facts['model']}: keeps its engine: {facts['reason']}")
        elif event == "agent":
            self._show_agent(facts)
        elif event == "draining":
            self._print(f"draining: {facts['requests']} request(s) left")

    def _show_agent(self, facts: dict[str, Any]) -> None:
        if facts["state"] == "Answers":
            self._print(f"the agent of this node, {facts['address']}, answers")
        else:
            self._print(f"{facts['message']}; this pod serves on and builds for itself")

    def _show_building(self, facts: dict[str, Any]) -> None:
        if facts["event"] == "decided":
            self._print(f"{facts['model']}: {facts['summary']}")
        elif facts["event"] == "started":
            self._print(f"building and measuring beside the server: {', '.join(facts['models'])}")

    def _show_table(self, facts: dict[str, Any]) -> None:
        from rich.console import Console
        from rich.table import Table

        from hpi_agent.commands.build_display import PIPE_WIDTH

        table = Table(box=None, pad_edge=False, header_style="bold")
        for heading in ("MODEL", "ENGINE", "DEVICE", "PRECISION", "THREADS", "LOADED IN", "WHY"):
            justify: Any = "right" if heading in ("THREADS", "LOADED IN") else "left"
            table.add_column(heading, no_wrap=heading != "WHY", justify=justify)
        for model in facts["models"]:
            engine = f"{model['engine']} {model['version'].split('-')[0]}"
            loaded = f"{model['loadSeconds'] * 1e3:.0f} ms"
            device = f"{model['asked']['device']}: {model['device']}"
            row = (model["name"], engine, device, model["precision"], str(model["threads"]), loaded, model["reason"])
            table.add_row(*row)
        # A pipe has no width; a table cut to 80 columns would lose what it is for.
        console = Console(stderr=True, width=None if sys.stderr.isatty() else PIPE_WIDTH)
        console.print(table)

    def _show_engines(self, facts: dict[str, Any]) -> None:
        self._show_table(facts)
        for model in facts["models"]:
            for rejected in filter(itemgetter("tried"), model["rejected"]):
                self._print(f"{model['name']}: not on {rejected['backend']}: {rejected['reason']}")
        if facts["cautious"]:
            self._print(
                "the engines of the store are left alone until this server is started again: workers with them died "
                "again and again. Build again with hpi-agent build --again"
            )
        seconds = sum(facts["startSeconds"].values())
        self._print(f"ready after {seconds:.1f} s: a real inference passed on every engine")
        self._print(f"listening on {self.url}   POST /ocr   GET /health /v2/health/ready /engines /metrics")

    def _print(self, text: str) -> None:
        print(text, file=sys.stderr, flush=True)

    def _line(self, event: str, facts: dict[str, Any]) -> None:
        print(json.dumps({"event": event, **facts}, ensure_ascii=False), flush=True)
