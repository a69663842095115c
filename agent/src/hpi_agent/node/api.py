"""The API server asked in plain JSON: what an agent needs of it, in 20 MB less than the package `kubernetes` takes."""

from __future__ import annotations

import contextlib
import json
import logging
import socket
from collections.abc import Iterator, Mapping
from http.client import HTTPException
from typing import Any, Final
from urllib.parse import urlencode

import urllib3
from urllib3.util.ssl_ import create_urllib3_context

from hpi_agent.node.access import Access
from hpi_agent.node.api_errors import FORBIDDEN, Answered, Away, NotThere, missing_right, problem_of
from hpi_core.errors import HpiError, Refused
from hpi_core.names import AGENT_FIELD_MANAGER

log: Final = logging.getLogger(__name__)

Document = dict[str, Any]

JSON: Final = "application/json"
APPLY: Final = "application/apply-patch+yaml"
MERGE: Final = "application/merge-patch+json"

AS_AGENT: Final = {"fieldManager": AGENT_FIELD_MANAGER}
FAILURES: Final = (urllib3.exceptions.HTTPError, HTTPException, OSError)
"""What a connection raises when it fails; anything else is a mistake of ours."""

SECONDS: Final = 10.0
"""How long an answer may take: a pod waits for some of them."""
MAX_ANSWER_BYTES: Final = 4 * 2**20
CONNECTIONS: Final = 8
USER_AGENT: Final = "hpi-agent"
# A connection that breaks without a word, as that of a load balancer does, is noticed by the kernel within a minute.
KEEP_ALIVE: Final = (
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 30),
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 10),
    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3),
    (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),
)


class Api:
    """One connection pool; safe from several threads."""

    def __init__(self, access: Access) -> None:
        """Prepare; nothing is asked yet.

        Raises:
            Refused: The file with the server's authority cannot be read.
        """
        self._access = access
        self._lacking: set[str] = set()
        context = create_urllib3_context()
        try:
            context.load_verify_locations(cafile=str(access.authority))
        except OSError as error:
            raise Refused(f"{access.authority} must hold the certificates of the API server: {error}") from error
        # Not urllib3's default manager: that one reads nothing of the environment either, but retries by itself.
        self._pool = urllib3.PoolManager(
            num_pools=1,
            maxsize=CONNECTIONS,
            block=False,
            retries=False,
            ssl_context=context,
            socket_options=list(KEEP_ALIVE),
        )

    def get(self, path: str) -> Document:
        """Return an object.

        Raises:
            NotThere: There is none.
            Answered: It was refused.
            Away: The API server does not answer.
        """
        return self._ask("GET", path)

    def find(self, path: str) -> Document | None:
        """Return an object, None where there is none; errors are those of `get`."""
        try:
            return self.get(path)
        except NotThere:
            return None

    def create(self, path: str, document: Document) -> Document:
        """Create an object, as the agents' field manager; `Conflict`: it is there already."""
        return self._ask("POST", path, document, query=AS_AGENT)

    def apply(self, path: str, document: Document) -> Document:
        """State the fields that this document has, and take back those that an earlier one had (server-side apply).

        Fields that somebody else states are taken over: agents are the only writers of what they write.
        """
        return self._ask("PATCH", path, document, content_type=APPLY, query={**AS_AGENT, "force": "true"})

    def merge(self, path: str, document: Document) -> Document:
        """Change some fields of an object (merge patch); `Conflict` where it names a version that is not the last."""
        return self._ask("PATCH", path, document, content_type=MERGE, query=AS_AGENT)

    def watch(self, path: str, query: Mapping[str, str], silence_seconds: float) -> Watch:
        """Return the events of a watch that has begun: what changes from now on will be among them.

        Raises:
            Answered: It was refused.
            Away: The API server does not answer, or the version asked for is gone.
        """
        timeout = urllib3.Timeout(connect=SECONDS, read=silence_seconds)
        answer = self._send("GET", f"{path}?{urlencode({**query, 'watch': '1'})}", None, JSON, timeout)
        if answer.status >= 300:
            raise self._refusal(f"watch {path}", answer)
        return Watch(path, answer)

    def close(self) -> None:
        """End every idle connection."""
        self._pool.clear()

    def _ask(
        self,
        method: str,
        path: str,
        document: Document | None = None,
        *,
        content_type: str = JSON,
        query: Mapping[str, str] | None = None,
    ) -> Document:
        what = f"{method} {path}"
        target = f"{path}?{urlencode(query)}" if query else path
        body = None if document is None else json.dumps(document).encode()
        answer = self._send(method, target, body, content_type, urllib3.Timeout(connect=SECONDS, read=SECONDS))
        if answer.status >= 300:
            raise self._refusal(what, answer)
        try:
            content = json.loads(_read(answer))
        except (ValueError, RecursionError) as error:
            raise Away(f"{what}: the answer is no JSON: {error}") from error
        if not isinstance(content, dict):
            raise Away(f"{what}: the answer is no object")
        return content

    def _send(self, method: str, target: str, body: bytes | None, content_type: str, timeout: urllib3.Timeout) -> Any:
        headers = {
            "Authorization": f"Bearer {self._access.token()}",
            "Accept": JSON,
            "Content-Type": content_type,
            "User-Agent": USER_AGENT,
        }
        url = self._access.url + target
        try:
            return self._pool.request(
                method, url, body=body, headers=headers, timeout=timeout, redirect=False, preload_content=False
            )
        except FAILURES as error:
            raise Away(f"{method} {target.partition('?')[0]}: {_words(error)}") from error

    def _refusal(self, what: str, answer: Any) -> Answered | Away:
        try:
            told = json.loads(_read(answer))
            message = str(told.get("message", "")) if isinstance(told, dict) else ""
        except (ValueError, RecursionError, HpiError):
            message = ""
        lacking = missing_right(message) if answer.status == FORBIDDEN else None
        if lacking is not None and lacking not in self._lacking:
            # Once: it is refused again and again until somebody grants it.
            self._lacking.add(lacking)
            log.error("a right is missing: grant it to the agents' service account", extra={"right": lacking})
        wish = str(answer.headers.get("Retry-After", ""))
        return problem_of(what, answer.status, message, float(wish) if wish.isdigit() else None)


class Watch:
    """Events of one watch, until the server ends it."""

    def __init__(self, path: str, answer: Any) -> None:
        self._path = path
        self._answer = answer

    def __iter__(self) -> Iterator[tuple[str, Document]]:
        """Yield the type of each event and its object.

        Raises:
            Away: The connection broke or was silent for too long, or the server says that the watch is over.
        """
        rest = b""
        try:
            while True:
                try:
                    chunk = self._answer.read1()
                except (*FAILURES, ValueError) as error:
                    raise Away(f"watch {self._path}: {_words(error)}") from error
                if not chunk:
                    return
                *lines, rest = (rest + chunk).split(b"\n")
                if len(rest) > MAX_ANSWER_BYTES:
                    raise Away(f"watch {self._path}: an event has more than {MAX_ANSWER_BYTES} bytes")
                yield from (self._event(line) for line in lines if line)
        finally:
            self._answer.close()

    def close(self) -> None:
        """Close it; by whoever reads it alone."""
        self._answer.close()

    def end(self) -> None:
        """End it, from any thread: whoever reads it sees its end, and closes it."""
        made = getattr(self._answer.connection, "sock", None)
        if made is not None:
            with contextlib.suppress(OSError):
                made.shutdown(socket.SHUT_RDWR)

    def _event(self, line: bytes) -> tuple[str, Document]:
        try:
            event = json.loads(line)
            kind, what = str(event["type"]), event["object"]
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise Away(f"watch {self._path}: an event cannot be read: {error}") from error
        if kind == "ERROR" or not isinstance(what, dict):
            told = what if isinstance(what, dict) else {}
            raise Away(f"watch {self._path}: {told.get('code', '')} {told.get('message', 'ended')}")
        return kind, what


def _read(answer: Any) -> bytes:
    try:
        content: bytes = answer.read(MAX_ANSWER_BYTES + 1, decode_content=True)
        # The rest of a body that is too long is not waited for.
        (answer.close if len(content) > MAX_ANSWER_BYTES else answer.release_conn)()
    except FAILURES as error:
        raise Away(_words(error)) from error
    if len(content) > MAX_ANSWER_BYTES:
        raise Away(f"the answer has more than {MAX_ANSWER_BYTES} bytes")
    return content


def _words(error: Exception) -> str:
    cause = error.__cause__ if isinstance(error.__cause__, OSError) else error
    return f"the API server does not answer ({getattr(cause, 'strerror', None) or type(error).__name__})"
