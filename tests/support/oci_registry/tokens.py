"""The token service of a registry: user and password in, or nobody; a signed token out, as Distribution specifies."""

from __future__ import annotations

import base64
import contextlib
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key
from cryptography.hazmat.primitives.hashes import SHA256

from support.loopback_server import Answer, LoopbackServer, Request, serving
from support.oci_registry.server import PASSWORD, USER

SERVICE: Final = "registry of the tests"
ISSUER: Final = "token service of the tests"
KEY_ID: Final = "key of the tests"


@dataclass
class TokenService:
    """Gives tokens for one registry."""

    public: frozenset[str] = frozenset()
    """Repositories that everybody may read; the others are for `USER`."""
    lifetime_seconds: int = 300
    key: RSAPrivateKey = field(default_factory=lambda: generate_private_key(65_537, 2_048))
    server: LoopbackServer | None = None

    @property
    def realm(self) -> str:
        """The address that the registry names."""
        assert self.server is not None
        return f"{self.server.url}/token"

    def setting(self, folder: Path) -> dict[str, Any]:
        """Return the setting of a registry that sends its clients here."""
        keys = folder / "keys.json"
        numbers = self.key.public_key().public_numbers()
        known = {"kty": "RSA", "alg": "RS256", "use": "sig", "kid": KEY_ID}
        numbered = {"n": _number(numbers.n), "e": _number(numbers.e)}
        keys.write_text(json.dumps({"keys": [{**known, **numbered}]}), encoding="utf-8")
        return {"token": {"realm": self.realm, "service": SERVICE, "issuer": ISSUER, "jwks": str(keys)}}

    def serve(self, request: Request) -> Answer:
        """Give a token with the rights that were asked for, so far as whoever asks has them."""
        user = request.headers.get("authorization")
        if user is not None and user != f"Basic {_base64(f'{USER}:{PASSWORD}'.encode(), url=False)}":
            return Answer(401, {"Content-Type": "application/json"}, b'{"errors":[{"code":"UNAUTHORIZED"}]}')
        kind, name, actions = (request.query.get("scope", "") + "::").split(":")[:3]
        allowed = ["pull", "push"] if user is not None else ["pull"] if name in self.public else []
        granted = [action for action in actions.split(",") if action in allowed]
        token = self.token([{"type": kind, "name": name, "actions": granted}] if granted else [])
        body = json.dumps({"token": token, "expires_in": self.lifetime_seconds}).encode("ascii")
        return Answer(200, {"Content-Type": "application/json"}, body)

    def token(self, access: list[dict[str, Any]]) -> str:
        """Return a JSON Web Token (RFC 7519), signed by RS256."""
        now = int(time.time())
        times = {"iat": now, "nbf": now - 10, "exp": now + self.lifetime_seconds}
        claims = {"iss": ISSUER, "aud": SERVICE, "sub": USER, "jti": str(now), **times, "access": access}
        head = {"typ": "JWT", "alg": "RS256", "kid": KEY_ID}
        signed = ".".join(_base64(json.dumps(part).encode("ascii")) for part in (head, claims))
        return f"{signed}.{_base64(self.key.sign(signed.encode('ascii'), PKCS1v15(), SHA256()))}"


@contextlib.contextmanager
def token_service(public: frozenset[str] = frozenset(), lifetime_seconds: int = 300) -> Iterator[TokenService]:
    """Run a token service until the block ends."""
    service = TokenService(public, lifetime_seconds)
    with serving(service.serve) as service.server:
        yield service


def _base64(content: bytes, *, url: bool = True) -> str:
    if not url:
        return base64.b64encode(content).decode("ascii")
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode("ascii")


def _number(value: int) -> str:
    return _base64(value.to_bytes((value.bit_length() + 7) // 8, "big"))
