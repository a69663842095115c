"""Addresses of servers: read once, checked once, and shown without what may be a secret in them."""

from __future__ import annotations

import contextlib
import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import SplitResult, quote, urljoin, urlsplit

from hpi_core.errors import Refused

PORTS: Final = {"http": 80, "https": 443}

_FORBIDDEN: Final = re.compile(r"[\x00-\x20\x7f\\\ud800-\udfff]")
_HOST: Final = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,252}[A-Za-z0-9])?|[0-9A-Fa-f:.]{2,45}")
_UNQUOTED: Final = "/%:@!$&'()*+,;=-._~"


@dataclass(frozen=True)
class Url:
    """One address of http or https; what was checked is what is connected to, for nobody reads the text again."""

    scheme: str
    host: str
    """Lower case; of an IPv6 address without its brackets."""
    port: int
    path: str
    """Begins with a slash; percent-encoded."""
    query: str
    """Without the question mark; it may be a signature, so it is never shown."""

    @property
    def origin(self) -> tuple[str, str, int]:
        """Scheme, host and port: who gets to see a credential."""
        return self.scheme, self.host, self.port

    @property
    def is_loopback(self) -> bool:
        """Whether the address itself says that it stays on this machine."""
        return self.host in ("localhost", "::1") or re.fullmatch(r"127(\.[0-9]{1,3}){3}", self.host) is not None

    @property
    def target(self) -> str:
        """What a request asks for: path and query."""
        return f"{self.path}?{self.query}" if self.query else self.path

    @property
    def text(self) -> str:
        """The whole address, with everything that may be secret in it."""
        return f"{self._place}?{self.query}" if self.query else self._place

    def __str__(self) -> str:
        return f"{self._place}?…" if self.query else self._place

    # What dataclass would write has the query in it.
    __repr__ = __str__

    @property
    def _place(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        port = "" if self.port == PORTS[self.scheme] else f":{self.port}"
        return f"{self.scheme}://{host}{port}{self.path}"

    def joined(self, location: str) -> Url:
        """Return the address that a redirect or a relative reference names.

        Raises:
            Refused: It is none of http or https.
        """
        return read_url(urljoin(self.text, location))


def read_url(text: str) -> Url:
    """Return an address of http or https.

    Raises:
        Refused: It is something else, names a user, or holds characters that two readers could take differently.
    """
    shown = shown_address(text)
    if _FORBIDDEN.search(text):
        raise Refused(f"address {shown!r} must have no spaces, backslashes and control characters; write them as %20")
    parts, port = None, None
    with contextlib.suppress(ValueError):
        # Its own words repeat what it was given.
        parts = urlsplit(text)
        port = parts.port
    if parts is None or (port is None and re.search(":[^]:@/]+$", parts.netloc.rpartition("@")[2])):
        raise Refused(f"address {shown!r} must be http(s)://HOST[:PORT]/PATH with a port from 1 to 65535")
    _check(shown, parts, port)
    return Url(
        parts.scheme,
        (parts.hostname or "").lower(),
        PORTS[parts.scheme] if port is None else port,
        quote(parts.path or "/", safe=_UNQUOTED),
        quote(parts.query, safe=_UNQUOTED + "?/"),
    )


def _check(shown: str, parts: SplitResult, port: int | None) -> None:
    if parts.scheme not in PORTS:
        raise Refused(f"address {shown!r} has the scheme {parts.scheme or 'none'!r}; http and https are allowed here")
    if parts.username is not None or parts.password is not None:
        raise Refused(
            f"address {shown!r} must not name a user or a password: put them into a Secret and name it in "
            "credentialsSecretRef"
        )
    if not _HOST.fullmatch(parts.hostname or "") or port == 0:
        raise Refused(f"address {shown!r} must name a host of ASCII letters, digits, dots and dashes, or an IP address")
    if parts.fragment:
        raise Refused(f"address {shown!r} must not have a fragment (#)")


def shown_address(text: str) -> str:
    """Return any address for people: without user, password, query and fragment."""
    place, _, rest = text.partition("?")
    place = place.partition("#")[0]
    scheme, separator, tail = place.partition("://")
    if separator:
        authority, slash, path = tail.partition("/")
        place = f"{scheme}://{authority.rpartition('@')[2]}{slash}{path}"
    return f"{place}?…" if rest else place
