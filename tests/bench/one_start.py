"""One start of `hpi-agent serve`, from exec to the first right answer."""

from __future__ import annotations

import contextlib
import http.client
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from bench.page_files import png_of
from bench.sides import as_quad
from support.pages import Page
from support.text_error import TextLine, character_error

POLL_SECONDS: Final = 0.005
START_SECONDS: Final = 120
"""Longest wait for a server; nothing comes near it on a machine that works."""

MAX_CHARACTER_ERROR: Final = 0.02
"""An answer with more errors per character is not right; every engine here reads the page with one in 293."""


@dataclass(frozen=True)
class Started:
    """One start of the server."""

    seconds: dict[str, float]
    """By row."""
    engines: list[str]
    """What served each model, in words."""


def start_once(manifest: Path, store: Path, environment: dict[str, str], page: Page) -> Started:
    """Start a server; return when it was ready, when it had answered, and what it says about its parts.

    Raises:
        SystemExit: The first answer was not right.
    """
    body = png_of(page)
    started = time.perf_counter()
    with serving(manifest, store, environment) as events:
        url = next(events)["url"]
        wait_until_ready(url)
        ready = time.perf_counter() - started
        answer = read_page(url, body)
        answered = time.perf_counter() - started
        told = next(event for event in events if event["event"] == "ready")
    check_answer(page, answer)
    parts = told["startSeconds"]
    seconds = {
        "firstAnswer": answered,
        "ready": ready,
        "readyPaddlex": parts["paddlexImport"],
        "readyEngines": parts["engines"],
    }
    return Started(seconds, [f"{model['name']}: {model['engine']}, {model['state']}" for model in told["models"]])


def read_page(url: str, body: bytes) -> dict[str, Any]:
    """Send a page as its file and return the answer.

    Raises:
        SystemExit: The server refused it.
    """
    address = urlsplit(url)
    connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=START_SECONDS)
    with contextlib.closing(connection):
        connection.request("POST", "/ocr?visualize=false", body, {"Content-Type": "application/octet-stream"})
        response = connection.getresponse()
        answer: dict[str, Any] = json.loads(response.read())
    if response.status != 200:
        raise SystemExit(f"the server answered {response.status}: {answer.get('errorMsg')}")
    return answer


def check_answer(page: Page, answer: dict[str, Any]) -> None:
    """Make sure that an answer says what stands on the page; pure.

    Raises:
        SystemExit: It does not.
    """
    read = answer["result"]["ocrResults"][0]["prunedResult"]
    texts = zip(read["rec_texts"], read["rec_polys"], strict=True)
    error = character_error(page.text_lines, [TextLine(text, as_quad(quad)) for text, quad in texts])
    if error.rate > MAX_CHARACTER_ERROR:
        raise SystemExit(
            f"the first answer has {error.edits} errors in {error.characters} characters: {read['rec_texts']}"
        )


@contextlib.contextmanager
def serving(manifest: Path, store: Path, environment: dict[str, str]) -> Iterator[Iterator[dict[str, Any]]]:
    """Run `hpi-agent serve` on a free port until the block ends; yield its events."""
    command = [sys.executable, "-m", "hpi_agent", "serve", "-f", str(manifest)]
    command += ["--host", "127.0.0.1", "--port", "0", "-o", "json", "--store", str(store)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
    assert process.stdout is not None
    try:
        yield map(json.loads, process.stdout)
    finally:
        process.terminate()
        process.wait(START_SECONDS)
        process.stdout.close()


def wait_until_ready(url: str) -> None:
    """Ask the readiness endpoint until it answers 200.

    Raises:
        SystemExit: It did not within `START_SECONDS`.
    """
    address = urlsplit(url)
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=START_SECONDS)
        with contextlib.suppress(OSError, http.client.HTTPException), contextlib.closing(connection):
            connection.request("GET", "/v2/health/ready")
            if connection.getresponse().status == 200:
                return
        time.sleep(POLL_SECONDS)
    raise SystemExit(f"{url}/v2/health/ready did not answer 200 within {START_SECONDS} s")
