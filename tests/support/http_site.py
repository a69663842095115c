"""A server of HTTP/1.1 on this machine with files, ranges, TLS, and faults that happen on purpose, each once."""

from __future__ import annotations

import contextlib
import email.utils
import gzip
import hashlib
import re
import socket
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final

CHUNK_BYTES: Final = 4_096


@dataclass
class File:
    """One file, and how the server speaks of it."""

    content: bytes
    etag: str | None = "strong"
    """`strong` or `weak`: made of the content; anything else is sent as it is; None: there is none."""
    modified: str | None = None
    ranges: bool = True
    """Whether parts of it can be asked for."""
    coding: str | None = None
    """Content coding that is used without being asked for."""
    length: bool = True
    """Whether its length is told; else it is sent in chunks."""
    headers: dict[str, str] = field(default_factory=dict)
    largest_part: int | None = None
    """Most bytes of a part of it, where more was asked for; None: as many as are asked for."""

    def tag(self) -> str | None:
        """Return the ETag."""
        digits = hashlib.sha256(self.content).hexdigest()[:16]
        return {"strong": f'"{digits}"', "weak": f'W/"{digits}"'}.get(self.etag or "", self.etag)


@dataclass(frozen=True)
class Asked:
    """One request that came."""

    target: str
    headers: Mapping[str, str]
    """Names in lower case."""

    @property
    def range(self) -> str | None:
        """The header Range."""
        return self.headers.get("range")


Fault = Callable[["Handler"], bool]
"""Acts in place of an answer; returns whether it has answered."""


@dataclass
class Site:
    """What a server has, what it does wrong, and what it was asked."""

    files: dict[str, File] = field(default_factory=dict)
    faults: dict[str, list[Fault]] = field(default_factory=dict)
    """By path; each happens once, in order, to requests that ask for more than the first byte."""
    always: dict[str, Fault] = field(default_factory=dict)
    """By path; happens to every request."""
    asked: list[Asked] = field(default_factory=list)
    url: str = ""

    def put(self, path: str, content: bytes, **how: Any) -> None:
        """Lay a file at a path."""
        self.files[path] = File(content, **how)

    def fail(self, path: str, *faults: Fault) -> None:
        """Let the next requests for a path fail, one after the other."""
        self.faults.setdefault(path, []).extend(faults)

    def asked_for(self, path: str) -> list[Asked]:
        """Return the requests for the body of a path: those that want more than its first byte."""
        return [one for one in self.asked if one.target.partition("?")[0] == path and one.range != "bytes=0-0"]


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    server: Server

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class names it so
        """Say nothing."""

    def do_GET(self) -> None:
        """Answer."""
        site = self.server.site
        headers = {name.lower(): value for name, value in self.headers.items()}
        site.asked.append(Asked(self.path, headers))
        path = self.path.partition("?")[0]
        is_probe = headers.get("range") == "bytes=0-0"
        always = site.always.get(path)
        if always is not None and always(self):
            return
        if not is_probe and site.faults.get(path) and site.faults[path].pop(0)(self):
            return
        if path not in site.files:
            self.answer(404, b"nothing")
            return
        self.answer_file(site.files[path])

    def answer(self, status: int, body: bytes = b"", headers: Mapping[str, str] | None = None) -> None:
        """Send a whole answer."""
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def answer_file(self, file: File, *, stop_after: int | None = None, length_is: int | None = None) -> None:
        """Send a file, or the part of it that was asked for.

        Args:
            file: What to send.
            stop_after: Bytes of the body after which the connection ends.
            length_is: What the header says in place of the true length.
        """
        content = gzip.compress(file.content) if file.coding == "gzip" else file.content
        begin, end, status = 0, len(content), 200
        wanted = re.fullmatch(r"bytes=([0-9]+)-([0-9]*)", self.headers.get("Range", ""))
        unchanged = self.headers.get("If-Range") in (None, file.tag())
        if wanted is not None and file.ranges and unchanged:
            begin = int(wanted[1])
            end = min(end, int(wanted[2]) + 1) if wanted[2] else end
            if begin >= len(content):
                self.answer(416, b"", {"Content-Range": f"bytes */{len(content)}"})
                return
            end = min(end, begin + (file.largest_part or end))
            status = 206
        body = content[begin:end]
        self.send_response(status)
        if status == 206:
            self.send_header("Content-Range", f"bytes {begin}-{end - 1}/{len(content)}")
        if file.length:
            self.send_header("Content-Length", str(len(body) if length_is is None else length_is))
        else:
            self.send_header("Transfer-Encoding", "chunked")
        for name, value in self._described(file):
            self.send_header(name, value)
        self.end_headers()
        self._send(body[:stop_after], in_chunks=not file.length, whole=stop_after is None)
        if stop_after is not None or length_is is not None:
            self.hang_up()

    def hang_up(self) -> None:
        """End the connection at once."""
        self.close_connection = True
        self.wfile.flush()
        with contextlib.suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)

    def wait_until_client_leaves(self) -> None:
        """Return when the client has closed the connection."""
        self.close_connection = True
        with contextlib.suppress(OSError):
            while self.connection.recv(1):
                pass

    def _described(self, file: File) -> Iterator[tuple[str, str]]:
        if file.tag() is not None:
            yield "ETag", str(file.tag())
        if file.modified is not None:
            yield "Last-Modified", file.modified
        if file.coding is not None:
            yield "Content-Encoding", file.coding
        yield from file.headers.items()

    def _send(self, body: bytes, *, in_chunks: bool, whole: bool) -> None:
        for begin in range(0, len(body), CHUNK_BYTES):
            piece = body[begin : begin + CHUNK_BYTES]
            self.wfile.write(b"%x\r\n%b\r\n" % (len(piece), piece) if in_chunks else piece)
        if in_chunks and whole:
            self.wfile.write(b"0\r\n\r\n")


def cut_after(size: int) -> Fault:
    """End the connection after so many bytes of the body."""

    def fault(handler: Handler) -> bool:
        handler.answer_file(handler.server.site.files[handler.path.partition("?")[0]], stop_after=size)
        return True

    return fault


def say_status(status: int, headers: Mapping[str, str] | None = None, body: bytes = b"") -> Fault:
    """Answer with a status."""

    def fault(handler: Handler) -> bool:
        handler.answer(status, body, headers)
        return True

    return fault


def redirect(location: str, status: int = 302) -> Fault:
    """Answer with a redirect."""
    return say_status(status, {"Location": location})


def lie_about_length(by: int) -> Fault:
    """Send the whole file under a length that is too large by so many bytes, and hang up."""

    def fault(handler: Handler) -> bool:
        file = handler.server.site.files[handler.path.partition("?")[0]]
        handler.answer_file(file, length_is=len(file.content) + by)
        return True

    return fault


def change_to(content: bytes, then: Fault | None = None) -> Fault:
    """Put other content in the file's place, and then fail or answer."""

    def fault(handler: Handler) -> bool:
        handler.server.site.files[handler.path.partition("?")[0]].content = content
        return False if then is None else then(handler)

    return fault


def fall_silent_after(size: int) -> Fault:
    """Send so many bytes of the body and then nothing, until the client leaves."""

    def fault(handler: Handler) -> bool:
        file = handler.server.site.files[handler.path.partition("?")[0]]
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(file.content)))
        handler.send_header("ETag", str(file.tag()))
        handler.end_headers()
        handler.wfile.write(file.content[:size])
        handler.wfile.flush()
        handler.wait_until_client_leaves()
        return True

    return fault


def drip_headers(handler: Handler) -> bool:
    """Send a header that never ends, byte after byte, until the client leaves."""
    handler.close_connection = True
    handler.wfile.write(b"HTTP/1.1 200 OK\r\nX-Slow: ")
    with contextlib.suppress(OSError):
        while not handler.server.stopping.wait(0.02):
            handler.wfile.write(b"a")
            handler.wfile.flush()
    return True


class Server(ThreadingHTTPServer):
    """Serves one site."""

    daemon_threads = True
    block_on_close = False
    # A client that has left is no news here.
    handle_error = None  # type: ignore[assignment]

    def __init__(self, host: str, site: Site) -> None:
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self.site = site
        self.stopping = threading.Event()
        super().__init__((host, 0), Handler)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Answer one connection; that a client leaves in the middle is what many tests are about."""
        try:
            self.finish_request(request, client_address)
        except OSError:
            pass
        finally:
            self.shutdown_request(request)


@contextlib.contextmanager
def serving(
    site: Site | None = None, *, host: str = "127.0.0.1", name: str | None = None, tls: ssl.SSLContext | None = None
) -> Iterator[Site]:
    """Serve a site until the context ends.

    Args:
        site: What to serve; None: an empty one.
        host: Address to listen on.
        name: What addresses call it; None: the address itself.
        tls: How to speak TLS, or None.
    """
    site = site or Site()
    server = Server(host, site)
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    shown = name or (f"[{host}]" if ":" in host else host)
    site.url = f"{'http' if tls is None else 'https'}://{shown}:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield site
    finally:
        server.stopping.set()
        server.shutdown()
        thread.join()
        server.server_close()


def http_date(seconds: float) -> str:
    """Return a time as HTTP writes it."""
    return email.utils.formatdate(seconds, usegmt=True)
