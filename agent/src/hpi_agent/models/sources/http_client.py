"""The one way to a server over HTTP: no proxy, no cookie, no password of this machine, no surprise.

urllib3 speaks the protocol, one connection for each request. What it leaves open is decided here: which redirects are
followed and with which headers, which peers are spoken to, how long anything may take, and what errors say. Its
connection pools are not used: they write whole addresses, signatures included, to the log.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

from hpi_agent.models.sources.credentials import Secret
from hpi_agent.models.sources.patience import DEFAULT_TIMEOUTS, Timeouts
from hpi_agent.models.sources.url import Url, read_url
from hpi_core.errors import HpiError, Refused, SourceFailed

T = TypeVar("T")

MAX_REDIRECTS: Final = 8
REDIRECTS: Final = (301, 302, 303, 307, 308)

CHUNK_BYTES: Final = 262_144
SHUTDOWN_BOTH: Final = 2
"""`socket.SHUT_RDWR`, which this module does not import."""

MAX_DOCUMENT_BYTES: Final = 16 * 2**20
"""Largest answer that is read into memory: a list of files, an index, a token."""

AGENT: Final = "hpi-agent"


@dataclass(frozen=True)
class Answer:
    """The head of an answer, and a way to its body."""

    status: int
    headers: Mapping[str, str]
    """Names in lower case."""
    url: Url
    """Where it came from, after all redirects."""
    hops: tuple[Url, ...]
    """Where it was asked for before, in order."""
    _read: Callable[[bool], Iterator[bytes]] = field(repr=False)

    def chunks(self, *, decoded: bool = False) -> Iterator[bytes]:
        """Yield the body, at most once.

        Args:
            decoded: Whether the content coding (gzip) is taken off.

        Raises:
            Retry: It is cut, or the server falls silent.
        """
        return self._read(decoded)

    def read(self, max_bytes: int = MAX_DOCUMENT_BYTES) -> bytes:
        """Return the whole body of a small answer.

        Raises:
            Retry: It is cut, or the server falls silent.
            SourceFailed: It is larger than `max_bytes`.
        """
        pieces, size = [], 0
        for piece in self.chunks(decoded=True):
            size += len(piece)
            if size > max_bytes:
                raise SourceFailed(f"{self.url} answers with more than {max_bytes} bytes; that is no list of files")
            pieces.append(piece)
        return b"".join(pieces)


@dataclass(frozen=True)
class HttpClient:
    """Asks servers; it keeps nothing between two requests."""

    ca: str | None = field(default=None, repr=False)
    """Certificates in PEM that are trusted beside those of the system, or None."""
    timeouts: Timeouts = DEFAULT_TIMEOUTS
    plain_allowed: bool = False
    """Whether http:// may lead elsewhere than to this machine: only where what comes is compared with a digest."""

    @contextlib.contextmanager
    def get(
        self,
        url: Url,
        headers: Mapping[str, str] | None = None,
        *,
        authorization: Secret | None = None,
        cookie: Secret | None = None,
    ) -> Iterator[Answer]:
        """Ask for one address and follow its redirects; the connection lasts as long as the context.

        Args:
            url: What to ask for.
            headers: Beside those that every request has; they go wherever a redirect leads, so none is a secret.
            authorization: The header of that name. It goes to the origin of `url` alone, and never over plain http to
                another machine.
            cookie: The header of that name, under the same rules.

        Raises:
            Refused: The address, or one that it redirects to, must not be read; or it would carry a secret in plain.
            Retry: The server does not answer; its certificate is no reason for that.
            SourceFailed: Its certificate is not trusted, or its redirects lead nowhere.
        """
        given = {"Authorization": authorization, "Cookie": cookie}
        secrets = {name: value for name, value in given.items() if value is not None}
        hops: list[Url] = []
        while True:
            self._check(url, hops, carries_secrets=bool(secrets) and not hops)
            with self._asked(url, _sent(url, hops, headers, secrets)) as (response, read):
                target = _target(url, response.headers) if response.status in REDIRECTS else None
                if target is None:
                    yield Answer(response.status, _fields(response.headers), url, tuple(hops), read)
                    return
            hops.append(url)
            url = target

    @contextlib.contextmanager
    def get_signed(self, url: Url, headers: Mapping[str, Secret]) -> Iterator[Answer]:
        """Ask for one address with headers that are signed for it; a redirect is an answer like any other.

        A signature proves a secret and does not carry it, so it may go over plain http where that is allowed at all.

        Raises:
            Refused: The address must not be read.
            Retry: The server does not answer; its certificate is no reason for that.
            SourceFailed: Its certificate is not trusted.
        """
        self._check(url, [], carries_secrets=False)
        with self._asked(url, _sent(url, [], None, headers)) as (response, read):
            yield Answer(response.status, _fields(response.headers), url, (), read)

    def _check(self, url: Url, hops: list[Url], *, carries_secrets: bool) -> None:
        chain = " → ".join(str(hop) for hop in [*hops, url])
        if url in hops:
            raise SourceFailed(f"{chain} is a circle of redirects; correct it on the server or name the last address")
        if len(hops) > MAX_REDIRECTS:
            raise SourceFailed(f"{chain} are more than {MAX_REDIRECTS} redirects; name the last address")
        if hops and hops[-1].scheme == "https" and url.scheme == "http":
            raise Refused(f"{chain} leads from https to http; that is never followed")
        if url.scheme == "http" and not url.is_loopback:
            if carries_secrets:
                raise Refused(f"{chain}: credentials are not sent over plain http; use https")
            if not self.plain_allowed:
                raise Refused(
                    f"{chain}: plain http can be changed on its way; use https, or give the digest that the model must "
                    "have (digest: sha256:…)"
                )

    @contextlib.contextmanager
    def _asked(self, url: Url, headers: dict[str, str]) -> Iterator[tuple[Any, Callable[[bool], Iterator[bytes]]]]:
        from hpi_agent.models.sources.connection import connection_to

        connection = connection_to(url, self.ca, self.timeouts.connect)
        watch = _Watch()
        response = None
        try:
            response = answered = _explained(url, watch, lambda: self._head(connection, watch, url, headers))

            def read(decoded: bool) -> Iterator[bytes]:
                # Whatever is there, and not until a whole piece is: a slow server must not hold the reader.
                while piece := _explained(url, watch, lambda: answered.read1(CHUNK_BYTES, decode_content=decoded)):
                    yield piece

            yield response, read
        finally:
            watch.stop()
            if response is not None:
                # It keeps the socket open by itself.
                response.close()
            connection.close()

    def _head(self, connection: Any, watch: _Watch, url: Url, headers: dict[str, str]) -> Any:
        """Ask, and return the answer once its last header has come."""
        connection.connect()
        # The connection forgets it as soon as an answer says that it is the last one.
        stream = connection.sock
        watch.limit(stream, self.timeouts.headers)
        # Ends a server that says nothing; the watch, one that says a little again and again.
        stream.settimeout(self.timeouts.headers)
        connection.request("GET", url.target, headers=headers, preload_content=False, decode_content=False)
        response = connection.getresponse()
        watch.stop()
        if watch.expired:
            # The end of the connection was taken for the end of the headers.
            raise TimeoutError
        stream.settimeout(self.timeouts.silence)
        return response


class _Watch:
    """Ends a connection whose answer takes too long: single bytes in time would satisfy every other time-out."""

    def __init__(self) -> None:
        self._timer: threading.Timer | None = None
        self.expired = False

    def limit(self, stream: Any, seconds: float) -> None:
        """End a connection after some seconds unless it is stopped before."""
        self._timer = threading.Timer(seconds, self._expire, [stream])
        self._timer.daemon = True
        self._timer.start()

    def stop(self) -> None:
        """Let the connection live."""
        if self._timer is not None:
            self._timer.cancel()

    def _expire(self, stream: Any) -> None:
        self.expired = True
        with contextlib.suppress(OSError):
            stream.shutdown(SHUTDOWN_BOTH)


def _explained(url: Url, watch: _Watch, call: Callable[[], T]) -> T:
    """Return what a call returns; what urllib3 raises becomes an error of ours.

    Theirs carry whole addresses and what a server has said, so they are not chained: raised where none of them is being
    handled any more, ours has no context. A context manager could not do that.
    """
    try:
        return call()
    except HpiError:
        raise
    except Exception as error:
        from hpi_agent.models.sources.connection import FAILURES, problem_of

        if not isinstance(error, FAILURES):
            raise
        problem = problem_of(url, error, late=watch.expired)
    raise problem


def _sent(
    url: Url, hops: list[Url], headers: Mapping[str, str] | None, secrets: Mapping[str, Secret]
) -> dict[str, str]:
    """Return the headers of a request; the secret ones only while no redirect has led to another origin."""
    sent = {"User-Agent": AGENT, "Accept-Encoding": "identity", **(headers or {})}
    if all(hop.origin == url.origin for hop in hops):
        sent |= {name: value.reveal() for name, value in secrets.items()}
    return sent


def _fields(headers: Mapping[str, str]) -> dict[str, str]:
    return {name.lower(): value for name, value in headers.items()}


def _target(url: Url, headers: Mapping[str, str]) -> Url | None:
    location = headers.get("Location")
    if not location:
        return None
    try:
        return url.joined(location)
    except Refused as error:
        refused = str(error)
    raise Refused(f"{url} redirects to where nothing may be read: {refused}")


def read_endpoint(text: str) -> Url:
    """Return the address of a service, which ends where its paths begin.

    Raises:
        Refused: It is no address of http or https, or has a query.
    """
    url = read_url(text)
    if url.query:
        raise Refused(f"endpoint {url} must not have a query (?)")
    return url
