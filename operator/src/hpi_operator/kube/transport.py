"""Requests to the API server as bytes, and answers that are errors already.

The library `kubernetes` brings what is hard to get right: kubeconfig and in-cluster configuration, certificates, tokens
that are read again when they change, proxies. Its model objects are not used, nor its own way of sending: building and
checking them costs ten times the memory and three times the time of the JSON itself.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final
from urllib.parse import urlencode

from urllib3 import Timeout
from urllib3.exceptions import HTTPError

from hpi_operator.kube.answers import error_of
from hpi_operator.kube.configuration import AGENT
from hpi_operator.kube.errors import Away, Unknown

log: Final = logging.getLogger(__name__)

CONNECT_SECONDS: Final = 5.0
RENEWAL_SECONDS: Final = 10.0
"""Credentials that were refused are read again at most this often."""
MAX_LINE_BYTES: Final = 32 * 2**20
"""Of one event of a watch: far more than the 1.5 MiB that etcd keeps of one object."""

Sent = Callable[[str, int, float], None]
"""Told of every answer: HTTP method, status (0: none came), seconds."""


def _forget(method: str, code: int, seconds: float) -> None:
    """Count nothing."""


class Transport:
    """One way to one API server, safe from several threads.

    Attributes:
        sent: Told of every answer.
    """

    def __init__(self, load: Callable[[], Any], agent: str = AGENT) -> None:
        """Connect.

        Args:
            load: Makes the library's client from the configuration as it is now.
            agent: What this program calls itself.

        Raises:
            Refused: There is no usable configuration.
        """
        self._load = load
        self._agent = agent
        self._lock = threading.Lock()
        self._client = load()
        self._loaded_at = time.monotonic()
        self.sent: Sent = _forget

    def close(self) -> None:
        """Close every connection that is kept open; whoever goes on opens new ones."""
        self._client.rest_client.pool_manager.clear()

    def send(
        self,
        method: str,
        path: str,
        query: Mapping[str, str],
        headers: Mapping[str, str],
        body: bytes | None,
        read_seconds: float,
    ) -> bytes:
        """Send a request and return the body of the answer.

        Raises:
            HpiError: As `hpi_operator.kube.errors` says.
        """
        answer = self._open(method, path, query, headers, body, read_seconds)
        try:
            return bytes(answer.read())
        except (HTTPError, OSError) as error:
            raise Away(f"{method} {path}: {type(error).__name__}: {error}") from error
        finally:
            answer.release_conn()

    def stream(self, path: str, query: Mapping[str, str], headers: Mapping[str, str], silence_seconds: float) -> Stream:
        """Open an answer that comes line by line.

        Raises:
            HpiError: As `hpi_operator.kube.errors` says.
        """
        return Stream(path, self._open("GET", path, query, headers, None, silence_seconds))

    def _open(
        self,
        method: str,
        path: str,
        query: Mapping[str, str],
        headers: Mapping[str, str],
        body: bytes | None,
        read_seconds: float,
    ) -> Any:
        client = self._client
        begun = time.monotonic()
        code = 0
        try:
            answer = client.rest_client.pool_manager.request(
                method,
                client.configuration.host + path + (f"?{urlencode(query)}" if query else ""),
                headers={**_credentials(client), "User-Agent": self._agent, "Accept": "application/json", **headers},
                body=body,
                preload_content=False,
                redirect=False,
                timeout=Timeout(connect=min(CONNECT_SECONDS, read_seconds), read=read_seconds),
            )
            code = int(answer.status)
        except (HTTPError, OSError) as error:
            raise Away(f"{method} {path}: {type(error).__name__}: {error}") from error
        finally:
            self.sent(method, code, time.monotonic() - begun)
        if 200 <= code < 300:
            return answer
        try:
            said = bytes(answer.read())
        except (HTTPError, OSError) as error:
            raise Away(f"{method} {path}: status {code}, then {type(error).__name__}: {error}") from error
        finally:
            answer.release_conn()
        refusal = error_of(code, said, f"{method} {path}", answer.headers.get("Retry-After"))
        if isinstance(refusal, Unknown):
            self._renew()
        raise refusal

    def _renew(self) -> None:
        """Read the credentials again: a token has run out, or the file has another one by now."""
        with self._lock:
            if time.monotonic() - self._loaded_at < RENEWAL_SECONDS:
                return
            self._loaded_at = time.monotonic()
        log.warning("the API server does not know who asks: the credentials are read again")
        self._client = self._load()


class Stream:
    """An answer that comes line by line, for as long as both sides want."""

    def __init__(self, path: str, answer: Any) -> None:
        self._path = path
        self._answer = answer

    def __iter__(self) -> Iterator[bytes]:
        """Yield whole lines; what comes behind the last newline was cut, and is none.

        Raises:
            Away: The connection broke, or was silent for too long.
        """
        rest: list[bytes] = []
        size = 0
        try:
            for chunk in self._answer.stream(amt=None, decode_content=False):
                first, *others = chunk.split(b"\n")
                rest.append(first)
                size += len(first)
                for following in others:
                    line, rest, size = b"".join(rest), [following], len(following)
                    if line:
                        yield line
                if size > MAX_LINE_BYTES:
                    raise Away(f"watching {self._path}: an event is longer than {MAX_LINE_BYTES} bytes")
        except (HTTPError, OSError) as error:
            raise Away(f"watching {self._path}: {type(error).__name__}: {error}") from error
        finally:
            self._answer.close()

    def end(self) -> None:
        """Let whoever reads it in another thread see its end."""
        try:
            self._answer.shutdown()
        except (OSError, RuntimeError, ValueError) as error:
            log.debug("a stream had ended already", extra={"path": self._path, "cause": str(error)})


def _credentials(client: Any) -> dict[str, str]:
    # The library reads a token's file again when a minute has passed.
    header = client.configuration.get_api_key_with_prefix("authorization")
    return {"Authorization": header} if header else {}
