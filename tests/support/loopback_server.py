"""An HTTP server on loopback that is a function: a request in, an answer out. It keeps what it was asked."""

from __future__ import annotations

import contextlib
import re
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Final
from urllib.parse import parse_qs, unquote, urlsplit

RANGE: Final = re.compile(r"bytes=([0-9]+)-([0-9]*)")


@dataclass(frozen=True)
class Request:
    """What a client asked for."""

    method: str
    target: str
    """Path and query, as they were sent."""
    headers: Mapping[str, str]
    """Names in lower case."""

    @property
    def path(self) -> str:
        """The path, percent-encoded."""
        return urlsplit(self.target).path

    @property
    def words(self) -> list[str]:
        """The parts of the path, decoded one by one: an encoded slash stays inside its part."""
        return [unquote(part) for part in self.path.lstrip("/").split("/")]

    @property
    def query(self) -> dict[str, str]:
        """The query; of several values of one name, the last."""
        return {name: values[-1] for name, values in parse_qs(urlsplit(self.target).query).items()}


@dataclass(frozen=True)
class Answer:
    """What a server says to it."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    length: int | None = None
    """What Content-Length says; None: the length of the body. More than that: the connection is cut after the body."""


Serve = Callable[[Request], Answer]


@dataclass(frozen=True)
class LoopbackServer:
    """One running server."""

    url: str
    """`http://127.0.0.1:PORT`."""
    requests: list[Request]
    """All that it was asked, in order."""

    @property
    def authority(self) -> str:
        """`127.0.0.1:PORT`."""
        return urlsplit(self.url).netloc

    def asked(self, part: str) -> list[Request]:
        """Return the requests whose target has some part."""
        return [request for request in self.requests if part in request.target]


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        # A client that leaves in the middle is what many tests are about; anything else is a mistake in the double.
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)  # type: ignore[arg-type]


@contextlib.contextmanager
def serving(serve: Serve) -> Iterator[LoopbackServer]:
    """Answer on a free port of 127.0.0.1 until the block ends."""
    requests: list[Request] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        # The kernel must not hold back the second of two small pieces.
        disable_nagle_algorithm = True

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it so
            """Say nothing."""

        def answer(self) -> None:
            headers = {name.lower(): value for name, value in self.headers.items()}
            request = Request(self.command, self.path, headers)
            requests.append(request)
            answer = serve(request)
            length = len(answer.body) if answer.length is None else answer.length
            self.send_response(answer.status)
            for name, value in {**answer.headers, "Content-Length": str(length)}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                with contextlib.suppress(OSError):
                    self.wfile.write(answer.body)
                self.close_connection = self.close_connection or length != len(answer.body)

        do_GET = do_HEAD = answer

    server = _Server(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield LoopbackServer(f"http://127.0.0.1:{server.server_port}", requests)
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def content_answer(request: Request, content: bytes, headers: Mapping[str, str]) -> Answer:
    """Return the answer to a request for a file of which parts may be asked for (RFC 9110, 14)."""
    known = {"Accept-Ranges": "bytes", "Content-Type": "application/octet-stream", **headers}
    asked = RANGE.fullmatch(request.headers.get("range", ""))
    if asked is None:
        return Answer(200, known, content)
    begin, end = int(asked[1]), min(int(asked[2] or len(content)), len(content) - 1)
    if begin > end:
        return Answer(416, {**known, "Content-Range": f"bytes */{len(content)}"})
    known["Content-Range"] = f"bytes {begin}-{end}/{len(content)}"
    return Answer(206, known, content[begin : end + 1])


def cut(answer: Answer, after_bytes: int) -> Answer:
    """Return an answer whose connection is cut after some bytes of its body."""
    return replace(
        answer, body=answer.body[:after_bytes], length=len(answer.body) if answer.length is None else answer.length
    )
