"""Connections of urllib3 that look at their peer before they speak; the sole importer of urllib3."""

from __future__ import annotations

import os
from http.client import HTTPException
from typing import Any, Final

import urllib3.connection
import urllib3.exceptions
from urllib3.util.ssl_ import create_urllib3_context

from hpi_agent.models.sources.reachable import check_peer
from hpi_agent.models.sources.url import Url
from hpi_core.errors import HpiError, Refused, Retry, SourceFailed

FAILURES: Final = (urllib3.exceptions.HTTPError, HTTPException, OSError)
"""What a connection raises when it fails; anything else is a mistake of ours."""


class _Guarded:
    """Checks the peer as soon as the connection stands: before TLS and before any byte of a request."""

    asked: str
    loopback_allowed: bool

    def _new_conn(self) -> Any:
        made: Any = super()._new_conn()  # type: ignore[misc]
        try:
            check_peer(made.getpeername()[0], asked=self.asked, loopback_allowed=self.loopback_allowed)
        except Refused:
            made.close()
            raise
        return made


class PlainConnection(_Guarded, urllib3.connection.HTTPConnection):
    """A connection without TLS."""


class TlsConnection(_Guarded, urllib3.connection.HTTPSConnection):
    """A connection with TLS, whose certificate is checked."""


def connection_to(url: Url, ca: str | None, seconds: float) -> Any:
    """Return a connection that is not yet made.

    Args:
        url: Where to.
        ca: Certificates in PEM that are trusted beside those of the system, or None.
        seconds: How long making it may take.

    Raises:
        Refused: The certificates are none.
    """
    connection: Any
    if url.scheme == "https":
        connection = TlsConnection(url.host, url.port, timeout=seconds, ssl_context=_context(ca))
    else:
        connection = PlainConnection(url.host, url.port, timeout=seconds)
    connection.asked, connection.loopback_allowed = str(url), url.is_loopback
    return connection


def _context(ca: str | None) -> Any:
    context = create_urllib3_context()
    context.load_default_certs()
    if ca is not None:
        try:
            context.load_verify_locations(cadata=ca)
        except (OSError, ValueError):
            raise Refused("ca.crt of the credentials must hold certificates in PEM; export them again") from None
    return context


def problem_of(url: Url, error: Exception, *, late: bool) -> HpiError:
    """Return what an exception of a connection means.

    Only words of ours and of the kernel go into the text: urllib3's own texts hold whole addresses.
    """
    if late:
        return Retry(f"{url} takes too long to answer")
    if isinstance(error, urllib3.exceptions.NameResolutionError):
        return Retry(
            f"{url}: its host {url.host!r} is not known here; check the name and the DNS of this machine"
            f"{_about_proxies()}"
        )
    reason = error.args[0] if isinstance(error, urllib3.exceptions.SSLError) and error.args else error
    verify = getattr(reason, "verify_message", None)
    if verify is not None:
        return SourceFailed(
            f"{url}: its certificate is not trusted: {verify}; put the certificate of its authority into ca.crt of the "
            "Secret that credentialsSecretRef names, or have the server's certificate corrected"
        )
    # Of urllib3's errors a connection that is refused counts among those that took too long.
    is_late = isinstance(error, urllib3.exceptions.TimeoutError | TimeoutError)
    if is_late and not isinstance(error, urllib3.exceptions.NewConnectionError):
        return Retry(f"{url} does not answer in time{_about_proxies()}")
    cause = error.__cause__ if isinstance(error.__cause__, OSError) else error
    is_cut = isinstance(error, urllib3.exceptions.ProtocolError | HTTPException)
    words = getattr(cause, "strerror", None) or ("the server ended it" if is_cut else type(error).__name__)
    return Retry(f"{url}: the connection failed or was cut ({words})")


def _about_proxies() -> str:
    """Return what to say of a proxy that somebody expects to be used."""
    named = sorted(name for name in os.environ if name.lower() in ("http_proxy", "https_proxy", "all_proxy"))
    return f" ({', '.join(named)}: set here and not used, sources are read directly)" if named else ""
