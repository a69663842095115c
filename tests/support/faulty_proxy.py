"""A proxy on loopback in front of a real server that does wrong what the network and bad servers do wrong."""

from __future__ import annotations

import contextlib
import http.client
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlsplit

from support.loopback_server import Answer, LoopbackServer, Request, cut, serving

HOP_BY_HOP: Final = ("connection", "keep-alive", "transfer-encoding", "content-length", "date", "server")
"""Headers of one connection, which each server writes itself."""

ALWAYS: Final = 1_000_000
"""More often than any test asks."""

Change = Callable[[Answer], Answer]


@dataclass
class _Fault:
    part: str
    change: Change
    times: int

    def matches(self, request: Request) -> bool:
        return self.part in request.target and self.times > 0 and request.method == "GET"


@dataclass
class FaultyProxy:
    """Passes requests on to one server, but for the faults that it is told of."""

    upstream: str
    """`http://HOST:PORT`."""
    _faults: list[_Fault] = field(default_factory=list)
    _server: LoopbackServer | None = None

    @property
    def server(self) -> LoopbackServer:
        """The proxy itself, and what it was asked."""
        assert self._server is not None
        return self._server

    @property
    def url(self) -> str:
        """`http://127.0.0.1:PORT`."""
        return self.server.url

    def change(self, part: str, change: Change, times: int = ALWAYS) -> None:
        """Change the next answers to requests whose target has some part."""
        self._faults.append(_Fault(part, change, times))

    def cut(self, part: str, after_bytes: int, times: int = 1) -> None:
        """Cut the next answers to requests whose target has some part."""
        self.change(part, lambda answer: cut(answer, after_bytes), times)

    def damage(self, part: str, times: int = ALWAYS) -> None:
        """Turn over one bit in the middle of the answers; their length stays."""
        self.change(part, _damaged, times)

    def replace(self, part: str, answer: Answer, times: int = ALWAYS) -> None:
        """Give another answer."""
        self.change(part, lambda _: answer, times)

    def redirect(self, part: str, location: str, times: int = ALWAYS) -> None:
        """Send the client elsewhere."""
        self.replace(part, Answer(307, {"Location": location}), times)

    def mend(self) -> None:
        """Do nothing wrong any more."""
        self._faults.clear()

    def serve(self, request: Request) -> Answer:
        """Return what the server says, or what becomes of it on the way."""
        answer = self._forward(request)
        for fault in self._faults:
            if fault.matches(request):
                fault.times -= 1
                return fault.change(answer)
        return answer

    def _forward(self, request: Request) -> Answer:
        connection = http.client.HTTPConnection(urlsplit(self.upstream).netloc, timeout=30)
        try:
            # The server must see the name under which the client knows it, as behind any proxy that is set up rightly.
            connection.request(request.method, request.target, headers=_end_to_end(request.headers))
            response = connection.getresponse()
            body = response.read()
            length = int(response.headers["Content-Length"]) if request.method == "HEAD" else None
            return Answer(response.status, _end_to_end(dict(response.headers.items())), body, length)
        finally:
            connection.close()


@contextlib.contextmanager
def faulty_proxy(upstream: str) -> Iterator[FaultyProxy]:
    """Run a proxy in front of a server until the block ends."""
    proxy = FaultyProxy(upstream)
    with serving(proxy.serve) as server:
        proxy._server = server
        yield proxy


def _end_to_end(headers: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in headers.items() if name.lower() not in HOP_BY_HOP}


def _damaged(answer: Answer) -> Answer:
    body = bytearray(answer.body)
    if body:
        body[len(body) // 2] ^= 1
    return Answer(answer.status, answer.headers, bytes(body))
