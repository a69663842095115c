"""`hpi-agent demo`: read a real page through a served pipeline; show text, engines, times and a picture."""

from __future__ import annotations

import argparse
import base64
import contextlib
import http.client
import importlib.util
import io
import json
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import yaml

from hpi_agent.commands.serve import add_store_argument, read_manifest
from hpi_core.errors import SourceFailed, Stop

COMPARED: Final = ("onnxruntime", "openvino")
"""Backends that run the ONNX models of the demonstration."""

ROUNDS: Final = 5
REQUEST_SECONDS: Final = 120
START_SECONDS: Final = 300


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the subcommand."""
    parser = subparsers.add_parser("demo", help="read a real page through a served pipeline", description=__doc__)
    default = "the project's own configs/pipelines/ocr.yaml"
    parser.add_argument("-f", "--file", metavar="FILE", help=f"manifest of an OCR HPIPipeline (default: {default})")
    parser.add_argument("--image", type=Path, help="the page (default: a scanned page from the scikit-image wheel)")
    parser.add_argument("--picture", type=Path, default=Path("build/demo/page.jpg"), help="where the picture goes")
    add_store_argument(parser)


@dataclass(frozen=True)
class Answer:
    """One answered request."""

    texts: list[str]
    scores: list[float]
    picture: bytes
    milliseconds: float
    model_milliseconds: dict[str, float]


@dataclass(frozen=True)
class Server:
    """One running server."""

    url: str
    engines: list[dict[str, Any]]

    def read(self, page: bytes, *, visualize: bool) -> Answer:
        """Send the page as it is and return the answer.

        Raises:
            Stop: The server refused it.
        """
        address = urlsplit(self.url)
        connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=REQUEST_SECONDS)
        started = time.perf_counter()
        path = f"/ocr?visualize={'true' if visualize else 'false'}"
        connection.request("POST", path, page, {"Content-Type": "application/octet-stream"})
        response = connection.getresponse()
        body = json.loads(response.read())
        milliseconds = (time.perf_counter() - started) * 1e3
        timing = response.getheader("Server-Timing", "")
        connection.close()
        if response.status != 200:
            raise Stop(f"the server answered {response.status}: {body.get('errorMsg')}")
        first = body["result"]["ocrResults"][0]
        pruned = first["prunedResult"]
        models = {name: float(value) for name, value in re.findall(r'desc="([^"]+)";dur=([0-9.]+)', timing)}
        picture = base64.b64decode(first.get("ocrImage", ""))
        return Answer(pruned["rec_texts"], pruned["rec_scores"], picture, milliseconds, models)


def run(arguments: argparse.Namespace) -> int:
    """Show the demonstration; return the exit code."""
    from hpi_agent.configuration import configs_directory

    file = arguments.file or str(configs_directory() / "pipelines" / "ocr.yaml")
    manifest = yaml.safe_load(read_manifest(file))
    # A builder beside the servers would take the cores that they are timed on; what was built before is used.
    manifest["spec"]["build"] = {**manifest["spec"].get("build", {}), "policy": "Prebuild"}
    page = page_bytes(arguments.image)
    started = time.perf_counter()
    _say(f"starting a server as {file} says …")
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(serving(manifest, arguments.store))
        _say(f"ready after {time.perf_counter() - started:.1f} s; starting the other engine for comparison …")
        servers: dict[str, Server] = {}
        for backend in COMPARED:
            # A server whose models are all on one engine is that engine's server already.
            same = all(engine["backend"] == backend for engine in server.engines)
            servers[backend] = (
                server if same else stack.enter_context(serving(with_backend(manifest, backend), arguments.store))
            )
        _say(f"ready after {time.perf_counter() - started:.1f} s; reading the page {ROUNDS} times on each …")
        answer = server.read(page, visualize=True)
        timed = measure(servers, page)
    arguments.picture.parent.mkdir(parents=True, exist_ok=True)
    arguments.picture.write_bytes(answer.picture)
    show(answer, server, timed, arguments.picture)
    return 0


def page_bytes(image: Path | None) -> bytes:
    """Return the encoded page.

    Raises:
        SourceFailed: The file is not there.
    """
    path = image
    if path is None:
        spec = importlib.util.find_spec("skimage")
        if spec is None or not spec.submodule_search_locations:
            raise SourceFailed("the page comes in the package scikit-image; install it, or name a file with --image")
        path = Path(next(iter(spec.submodule_search_locations))) / "data" / "page.png"
    try:
        return path.read_bytes() if image is not None else _without_profile(path.read_bytes())
    except OSError as error:
        raise SourceFailed(f"cannot read {path}: {error.strerror}; name a file with --image") from error


def _without_profile(page: bytes) -> bytes:
    """Return a PNG with the same pixels and without its colour profile, which is malformed: libpng would complain."""
    from PIL import Image

    buffer = io.BytesIO()
    with Image.open(io.BytesIO(page), formats=("PNG",)) as opened:
        opened.info.pop("icc_profile", None)
        opened.save(buffer, "PNG")
    return buffer.getvalue()


def with_backend(manifest: dict[str, Any], backend: str) -> dict[str, Any]:
    """Return the manifest with one backend for every model."""
    settings = {"hpiConfig": {"autoConfig": False, "backend": backend}}
    modules = [{**module, "inference": settings} for module in manifest["spec"].get("modules", [])]
    return {**manifest, "spec": {**manifest["spec"], "modules": modules}}


@contextlib.contextmanager
def serving(manifest: dict[str, Any], store: Path | None) -> Iterator[Server]:
    """Run the real command `hpi-agent serve` on a free port of the loopback interface.

    Raises:
        Stop: It does not become ready; its own message is on stderr.
    """
    command = [sys.executable, "-m", "hpi_agent", "serve", "-f", "-", "--port", "0", "-o", "json"]
    if store is not None:
        command += ["--store", str(store)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)  # noqa: S603
    try:
        assert process.stdin is not None  # noqa: S101 - both are pipes
        process.stdin.write(json.dumps(manifest))
        process.stdin.close()
        yield _wait_until_ready(process)
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_until_ready(process: subprocess.Popen[str]) -> Server:
    assert process.stdout is not None  # noqa: S101 - it is a pipe
    engines: list[dict[str, Any]] = []
    for line in process.stdout:
        event = json.loads(line)
        if event["event"] == "ready":
            engines = event["models"]
        if event["event"] == "listening":
            return Server(event["url"], engines)
    raise Stop(f"a server ended before it was ready (exit code {process.wait()}); its message is above")


def measure(servers: dict[str, Server], page: bytes) -> dict[str, list[Answer]]:
    """Read the page on each server in turn, round by round, after one round that is not counted."""
    timed: dict[str, list[Answer]] = {name: [] for name in servers}
    for round_number in range(ROUNDS + 1):
        for name, server in servers.items():
            answer = server.read(page, visualize=False)
            if round_number:
                timed[name].append(answer)
    return timed


def show(answer: Answer, server: Server, timed: dict[str, list[Answer]], picture: Path) -> None:
    """Print what was read, by which engines, and how long each engine takes."""
    from rich.console import Console
    from rich.table import Table

    console = Console(highlight=False, width=max(100, Console().width))
    lines = Table(title=f"{len(answer.texts)} lines of text", title_justify="left", box=None, pad_edge=False)
    lines.add_column("SCORE", justify="right")
    lines.add_column("TEXT")
    for text, score in zip(answer.texts, answer.scores, strict=True):
        lines.add_row(f"{score:.3f}", text)
    serves = {engine["name"]: engine for engine in server.engines}
    times = Table(
        title=f"time per page, median of {ROUNDS}, engines in turn (ms)", title_justify="left", box=None, pad_edge=False
    )
    times.add_column("MODEL")
    times.add_column("SERVED BY")
    for backend in timed:
        times.add_column(backend.upper(), justify="right")
    for name, engine in serves.items():
        medians = [_median(answers, lambda one, name=name: one.model_milliseconds[name]) for answers in timed.values()]
        times.add_row(name, f"{engine['backend']}, {engine['threads']} threads, {engine['precision']}", *medians)
    totals = [_median(answers, lambda one: one.milliseconds) for answers in timed.values()]
    times.add_row("whole request", "", *totals)
    for table in (lines, times):
        console.print(table)
        console.print()
    for engine in serves.values():
        version = engine["version"].split("-")[0]
        console.print(f"{engine['name']}: {engine['backend']} {version}, because: {engine['reason']}")
    console.print(f"picture with boxes: {picture}")


def _median(answers: list[Answer], value: Any) -> str:
    return f"{statistics.median(value(answer) for answer in answers):.0f}"


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
