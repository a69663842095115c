"""Real servers for tests: our own command, and PaddleX's own server, each in a process of its own on loopback."""

from __future__ import annotations

import contextlib
import json
import math
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx2
import yaml

from hpi_agent.building.measurement import Pace
from hpi_agent.building.pipeline import BuildSettings, build_pipeline
from hpi_agent.processes.process_tree import descendants, every_process

ROOT = Path(__file__).resolve().parents[2]
SAMPLE = ROOT / "configs" / "pipelines" / "ocr.yaml"
PATIENCE_SECONDS = 280.0
"""How long a test waits for a server before it fails; nothing waits this long on a machine that works."""

BRIEF = Pace(seconds=0.0, min_rounds=1, max_rounds=1, patience_seconds=0.0, quiet_load=math.inf)
"""One round, and every machine counts as quiet: who else works on it must not decide a test."""


def sample_manifest(**spec: Any) -> dict[str, Any]:
    """Return the sample pipeline with some fields of its spec replaced.

    Nothing is built beside the servers of tests, unless a test asks for it: building takes a minute of both cores.
    """
    manifest: dict[str, Any] = yaml.safe_load(SAMPLE.read_text(encoding="utf-8"))
    manifest["spec"].update({"build": {"policy": "Prebuild"}, **spec})
    return manifest


def on_backend(backend: str, **spec: Any) -> dict[str, Any]:
    """Return the sample pipeline with one backend for every model, and no fall-back."""
    inference = {"hpiConfig": {"autoConfig": False, "backend": backend}}
    return sample_manifest(inference=inference, **spec)


@dataclass
class RunningServer:
    """One running `hpi-agent serve`."""

    process: subprocess.Popen[str]
    url: str
    events: list[dict[str, Any]]
    _changed: threading.Condition = field(default_factory=threading.Condition)
    _is_over: bool = False

    @property
    def address(self) -> tuple[str, int]:
        """Host and port, for clients that speak raw bytes."""
        parts = urlsplit(self.url)
        assert parts.hostname is not None
        assert parts.port is not None
        return parts.hostname, parts.port

    def client(self) -> httpx2.Client:
        """Return a client of this server."""
        return httpx2.Client(base_url=self.url, timeout=PATIENCE_SECONDS)

    def read(self, page: bytes) -> httpx2.Response:
        """Send a PNG to the pipeline and return the whole answer."""
        with self.client() as client:
            headers = {"Content-Type": "image/png"}
            answer: httpx2.Response = client.post("/ocr?visualize=false", content=page, headers=headers)
            return answer

    def engines(self) -> dict[str, dict[str, Any]]:
        """Return what `/engines` says of each model, by its name."""
        with self.client() as client:
            return {model["name"]: model for model in client.get("/engines").json()["models"]}

    def count(self, event: str) -> int:
        """Return how many events of a name there are now."""
        return len([one for one in self.events if one["event"] == event])

    def wait_for(self, event: str, count: int = 1) -> dict[str, Any]:
        """Return the count-th event of a name; wait until it is there."""
        with self._changed:
            self._changed.wait_for(lambda: self.count(event) >= count or self._is_over, PATIENCE_SECONDS)
            assert self.count(event) >= count, f"no {count}. {event!r} event; events: {self.events}"
            return [one for one in self.events if one["event"] == event][count - 1]

    def follow(self) -> None:
        """Collect events until the server ends."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            with self._changed:
                self.events.append(json.loads(line))
                self._changed.notify_all()
        with self._changed:
            self._is_over = True
            self._changed.notify_all()

    def worker_pid(self) -> int:
        """Return the process id of the worker that serves now."""
        [pid] = self._children(b"hpi_agent.serve.worker")
        return pid

    def builder_pid(self) -> int:
        """Return the process id of the builder beside the server."""
        [pid] = self._children(b"build")
        return pid

    def _children(self, word: bytes) -> list[int]:
        children = (
            Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text(encoding="ascii").split()
        )
        return [int(child) for child in children if word in Path(f"/proc/{child}/cmdline").read_bytes().split(b"\0")]

    def descendants(self) -> set[int]:
        """Return the process ids of everything that the server has started, directly or not."""
        return set(descendants([self.process.pid], every_process().values())) - {self.process.pid}

    def terminate(self) -> int:
        """Send SIGTERM and return the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(PATIENCE_SECONDS)


def serve_command(store: Path, *more: str) -> list[str]:
    """Return the command of a server on a free loopback port that reads its manifest from standard input."""
    return [
        *(sys.executable, "-m", "hpi_agent", "serve", "-f", "-"),
        *("--port", "0", "-o", "json", "--store", str(store), *more),
    ]


def texts(answer: httpx2.Response) -> list[str]:
    """Return the lines that an answer of `/ocr` has read; the answer must be one."""
    assert answer.status_code == 200, answer.text
    found: list[str] = answer.json()["result"]["ocrResults"][0]["prunedResult"]["rec_texts"]
    return found


@cache
def built_store(folder: Path) -> Path:
    """Return a store in which the sample pipeline was built, at the brief pace; built once a session.

    Args:
        folder: The session's folder of temporary files, `tmp_path_factory.getbasetemp()`. Tests take copies.
    """
    settings = BuildSettings(folder / "built-store", None, pace=BRIEF)
    build_pipeline(json.dumps(sample_manifest()), "the sample", settings, lambda _: None)
    return settings.store


@contextlib.contextmanager
def serving(
    manifest: dict[str, Any], store: Path, *, wait: bool = True, within: Sequence[str] = ()
) -> Iterator[RunningServer]:
    """Run the real command until the block ends.

    Args:
        manifest: What to serve.
        store: The store to use.
        wait: Whether to wait until the server is ready.
        within: A command that runs another one and becomes it, put before it.
    """
    command = [*within, *serve_command(store)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(json.dumps(manifest))
    process.stdin.close()
    first = process.stdout.readline()
    assert first, f"the server ended with {process.wait(10)} before it said anything"
    event = json.loads(first)
    server = RunningServer(process, event["url"], [event])
    reader = threading.Thread(target=server.follow, daemon=True)
    reader.start()
    try:
        if wait:
            server.wait_for("listening")
        yield server
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()
        reader.join()
        process.stdout.close()


@contextlib.contextmanager
def paddlex_serving(config: dict[str, Any], cache: Path, threads: int) -> Iterator[str]:
    """Run PaddleX's own server on its own onnxruntime engine; yield its URL."""
    script = Path(__file__).with_name("paddlex_server.py")
    command = [sys.executable, str(script), json.dumps(config), str(cache), str(threads)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "agent" / "src")}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
    assert process.stdout is not None
    try:
        url = next((line.split()[1] for line in process.stdout if line.startswith("LISTENING ")), None)
        assert url is not None, f"PaddleX's own server ended with {process.wait(10)}"
        yield url
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
