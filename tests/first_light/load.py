"""Requests against one address, from inside the cluster's network: `python -m first_light.load URL PAGE`.

Each worker sends the page, reads the answer and sends the next, each time over a new connection, so that every request
is one that a Service sends somewhere. It ends when its standard input does, after so many requests or seconds at the
latest, and prints one JSON object. Nothing is tried twice: what fails has failed. Standard library alone, so that it
starts at once; a load generator from elsewhere would not compare the texts of the answers.
"""

from __future__ import annotations

import argparse
import http.client
import json
import sys
import threading
import time
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

REQUEST_SECONDS: Final = 60.0
SHOWN_FAILURES: Final = 10


class Load:
    """What all workers have sent so far."""

    def __init__(self, url: str, path: str, page: bytes, expected: str, most: int) -> None:
        self._host = urlsplit(url).hostname or ""
        self._port = urlsplit(url).port or 80
        self._path = path
        self._page = page
        self._expected = expected
        self._left = most
        self._lock = threading.Lock()
        self.stopping = threading.Event()
        self.milliseconds: list[float] = []
        self.failures: list[dict[str, Any]] = []
        self.texts: list[str] = []

    def work(self) -> None:
        """Send until it is enough."""
        while not self.stopping.is_set() and self._takes_one():
            begun = time.monotonic()
            try:
                problem = self._send()
            except (OSError, http.client.HTTPException, ValueError) as error:
                problem = f"{type(error).__name__}: {error}"
            taken = (time.monotonic() - begun) * 1e3
            with self._lock:
                if problem:
                    at = time.strftime("%H:%M:%S")
                    self.failures.append({"at": at, "afterMilliseconds": round(taken), "problem": problem})
                else:
                    self.milliseconds.append(taken)

    def _takes_one(self) -> bool:
        with self._lock:
            self._left -= 1
            return self._left >= 0

    def _send(self) -> str:
        connection = http.client.HTTPConnection(self._host, self._port, timeout=REQUEST_SECONDS)
        try:
            connection.request("POST", self._path, self._page, {"Content-Type": "application/octet-stream"})
            response = connection.getresponse()
            body = response.read()
        finally:
            connection.close()
        if response.status != http.HTTPStatus.OK:
            return f"status {response.status}: {body[:300].decode('utf-8', 'replace')}"
        texts = json.loads(body)["result"]["ocrResults"][0]["prunedResult"]["rec_texts"]
        with self._lock:
            self.texts = self.texts or texts
        return "" if self._expected in texts else f"read {texts} without {self._expected!r}"

    def report(self) -> dict[str, Any]:
        """Return what became of the requests."""
        ordered = sorted(self.milliseconds)
        return {
            "sent": len(ordered) + len(self.failures),
            "failed": len(self.failures),
            "failures": self.failures[:SHOWN_FAILURES],
            "p50Milliseconds": round(_at(ordered, 0.5)),
            "p99Milliseconds": round(_at(ordered, 0.99)),
            "texts": self.texts,
        }


def _at(ordered: list[float], share: float) -> float:
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))] if ordered else 0.0


def _stop_with_input(load: Load) -> None:
    sys.stdin.read()
    load.stopping.set()


def main() -> int:
    """Send, and print what became of it."""
    parser = argparse.ArgumentParser(prog="first_light.load", description=__doc__)
    parser.add_argument("url")
    parser.add_argument("page", type=Path)
    parser.add_argument("--path", default="/ocr?visualize=false")
    parser.add_argument("--expect", required=True, help="a line that every answer must have")
    parser.add_argument("--workers", type=int, default=1, choices=range(1, 17))
    parser.add_argument("--most", type=int, default=100_000, help="requests")
    parser.add_argument("--seconds", type=float, default=1800.0, help="at the latest")
    arguments = parser.parse_args()
    load = Load(arguments.url, arguments.path, arguments.page.read_bytes(), arguments.expect, arguments.most)
    workers = [threading.Thread(target=load.work, daemon=True) for _ in range(arguments.workers)]
    end = time.monotonic() + arguments.seconds
    for worker in workers:
        worker.start()
    threading.Thread(target=_stop_with_input, args=(load,), daemon=True).start()
    while any(worker.is_alive() for worker in workers):
        if time.monotonic() > end:
            load.stopping.set()
        workers[0].join(0.1)
        for worker in workers[1:]:
            worker.join(0.05)
    print(json.dumps(load.report()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
