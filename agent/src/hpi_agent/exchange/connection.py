"""One request to the agent of the node, within limits of time and size; the only importer of urllib3 here.

No proxy, no redirect, no retry of the library's own: the agent is on this very node, and who asks again, how often and
how long is decided by the caller.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from http.client import HTTPException
from typing import IO, Any, Final

import urllib3
import urllib3.exceptions

from hpi_agent.exchange.address import AgentAddress
from hpi_agent.exchange.reports import MAX_JSON_BYTES
from hpi_core.errors import Overloaded, Refused, Retry, Stop

FAILURES: Final = (urllib3.exceptions.HTTPError, HTTPException, OSError)
"""What a connection raises when it fails; anything else is a mistake of ours."""

PIECE_BYTES: Final = 2**20
MAX_RETRY_SECONDS: Final = 60
FULL: Final = 507


class AgentAway(Retry):
    """The agent does not answer, or says that it cannot now."""


class AgentRefuses(Refused):
    """The agent answers, and not what was hoped for.

    Attributes:
        status: HTTP status.
        digest: Of what is there instead, where it says so.
    """

    def __init__(self, message: str, status: int, digest: str | None = None) -> None:
        self.status = status
        self.digest = digest
        super().__init__(message)


class AgentFull(Stop):
    """The node's cache volume has no room."""


@dataclass(frozen=True)
class Patience:
    """How long one request may take. Unit: seconds."""

    connect_seconds: float = 1.0
    """The agent is on the same node: a connection stands in a millisecond, or not at all."""
    silence_seconds: float = 15.0
    """Between two pieces of an answer; the agent may ask the API server meanwhile."""
    json_seconds: float = 35.0
    """For a whole answer in JSON."""


DEFAULT_PATIENCE: Final = Patience()


@dataclass(frozen=True)
class Answer:
    """What came back: a status that is no error, or 404 or 423."""

    status: int
    body: bytes = b""


@dataclass
class Connection:
    """Requests to one agent; several threads may use it at once."""

    address: AgentAddress
    patience: Patience = DEFAULT_PATIENCE
    _pool: Any = field(init=False)

    def __post_init__(self) -> None:
        timeout = urllib3.Timeout(connect=self.patience.connect_seconds, read=self.patience.silence_seconds)
        self._pool = urllib3.HTTPConnectionPool(
            self.address.host, self.address.port, timeout=timeout, maxsize=2, retries=False
        )

    def ask(
        self,
        method: str,
        path: str,
        body: bytes | IO[bytes] | None = None,
        *,
        size_bytes: int | None = None,
        answers: tuple[int, ...] = (200, 201, 204),
    ) -> Answer:
        """Return the answer to one request.

        Args:
            method: HTTP's.
            path: Behind the address.
            body: JSON, or an open file.
            size_bytes: Of the body, where it is a file.
            answers: Statuses that are no errors.

        Raises:
            AgentAway: There is none.
            AgentRefuses: It has another status.
            AgentFull: The node's cache has no room.
            Refused: The token cannot be read.
        """
        headers = {} if size_bytes is None else {"Content-Length": str(size_bytes)}
        end = None if size_bytes is not None else time.monotonic() + self.patience.json_seconds
        with self._sent(method, path, headers, body) as response:
            content = self._whole(response, end)
            self._check(response, content, answers)
            return Answer(response.status, content)

    @contextlib.contextmanager
    def pieces(self, path: str, begin: int) -> Iterator[Iterator[bytes]]:
        """Yield the pieces of a blob from one byte on.

        Raises:
            AgentAway: The connection fails, at the latest while the pieces are read.
            AgentRefuses: There is no such blob, or no such byte.
        """
        headers = {"Range": f"bytes={begin}-"} if begin else {}
        with self._sent("GET", path, headers, None) as response:
            if response.status != (206 if begin else 200):
                self._check(response, self._whole(response, None), ())
            yield self._streamed(response)

    @contextlib.contextmanager
    def _sent(self, method: str, path: str, headers: Mapping[str, str], body: Any) -> Iterator[Any]:
        token = self.address.token()
        sent = {"Authorization": f"Bearer {token}", "Accept-Encoding": "identity", **headers}
        try:
            response = self._pool.urlopen(
                method, path, body=body, headers=sent, redirect=False, preload_content=False, decode_content=False
            )
        except FAILURES as error:
            raise self._away(error) from error
        is_whole = False
        try:
            yield response
            is_whole = True
        finally:
            # A connection with the rest of an answer in it is of no use to the next request.
            if is_whole and response.length_remaining in (0, None):
                response.release_conn()
            else:
                response.close()

    def _streamed(self, response: Any) -> Iterator[bytes]:
        try:
            yield from response.stream(PIECE_BYTES)
        except FAILURES as error:
            raise self._away(error) from error

    def _whole(self, response: Any, end: float | None) -> bytes:
        content = bytearray()
        for piece in self._streamed(response):
            content += piece
            if len(content) > MAX_JSON_BYTES:
                raise AgentRefuses(f"{self.address} answers with more than {MAX_JSON_BYTES} bytes", response.status)
            if end is not None and time.monotonic() > end:
                raise AgentAway(f"the agent {self.address} takes too long to answer")
        return bytes(content)

    def _check(self, response: Any, content: bytes, answers: tuple[int, ...]) -> None:
        status: int = response.status
        if status in answers:
            return
        text, digest = _told(content)
        said = f"the agent {self.address} answers {status}: {text}"
        if status == FULL:
            raise AgentFull(said)
        after = response.headers.get("Retry-After", "")
        if status == 503 and after.isdecimal():
            raise Overloaded(said, min(int(after), MAX_RETRY_SECONDS))
        if status >= 500:
            raise AgentAway(said)
        raise AgentRefuses(said, status, digest)

    def _away(self, error: Exception) -> AgentAway:
        cause = error.__cause__ if isinstance(error.__cause__, OSError) else error
        is_late = isinstance(error, urllib3.exceptions.TimeoutError | TimeoutError)
        is_new = isinstance(error, urllib3.exceptions.NewConnectionError)
        words = "too late" if is_late and not is_new else getattr(cause, "strerror", None) or type(error).__name__
        return AgentAway(f"the agent {self.address} does not answer ({words})")


def _told(content: bytes) -> tuple[str, str | None]:
    try:
        told = json.loads(content)
        digest = told.get("digest")
        return str(told["error"]), None if digest is None else str(digest)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return "it does not say why", None
