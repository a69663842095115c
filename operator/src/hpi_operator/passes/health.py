"""Whether the operator lives, is ready, and what it counts: three addresses on one small server.

`http.server` of the standard library is enough for a probe every few seconds; it is no door for strangers, and a
NetworkPolicy keeps them off.
"""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final

log: Final = logging.getLogger(__name__)


@dataclass(frozen=True)
class Health:
    """What the probes ask."""

    alive: Callable[[], str | None]
    """Returns why the process should be started anew, None where it makes progress."""
    ready: Callable[[], str | None]
    """Returns why it is not ready, None where it is: whether it leads plays no part."""
    metrics: Callable[[], bytes]


class HealthServer:
    """The server."""

    def __init__(self, health: Health, host: str, port: int) -> None:
        self._server = ThreadingHTTPServer((host, port), _handler(health))
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, name="health", daemon=True)

    @property
    def port(self) -> int:
        """The port it listens on."""
        return int(self._server.server_address[1])

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End."""
        self._server.shutdown()
        self._server.server_close()


def _handler(health: Health) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        timeout = 5

        def do_GET(self) -> None:
            if self.path == "/metrics":
                self._answer(200, "text/plain; version=0.0.4; charset=utf-8", health.metrics())
            elif self.path in ("/healthz", "/readyz"):
                why = (health.alive if self.path == "/healthz" else health.ready)()
                body = json.dumps({"status": "ok"} if why is None else {"status": "failed", "why": why}).encode()
                self._answer(200 if why is None else 503, "application/json", body)
            else:
                self._answer(404, "application/json", b'{"error": "there are /healthz, /readyz and /metrics"}')

        def _answer(self, status: int, content: str, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", content)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *arguments: Any) -> None:  # noqa: A002 - the name of the base class
            log.debug(format, *arguments)

    return Handler
