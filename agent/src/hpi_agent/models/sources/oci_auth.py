"""What a registry wants to see before it gives anything, and who gets to see which credentials for that.

    401 Basic                     user and password, to the registry alone
    401 Bearer realm="https://…"  a token of a token service, which is asked for with user and password

A registry names its token service itself, and that service may be on another host: whoever runs a registry, or is taken
for it, could collect everybody's passwords with one header (CVE-2020-15157 of containerd, CVE-2026-48978 of oras-go).
So user and password go to the registry's own origin, to the token services that belong to it by `TOKEN_SERVICES`, and
to the one that key `realm` of the Secret names: whoever has the credentials says where they may go. Any other token
service is asked without credentials where there are none, and else not at all. It is asked over https; over plain http
only where the registry is on this machine, and the service too. The scope is what is needed, whatever the registry
asks for. A token goes to the registry alone.

Source: Distribution project, "Token Authentication Specification" and RFC 6750, 7235, 7617.
"""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass, field
from typing import Annotated, Final
from urllib.parse import urlencode

from pydantic import BaseModel, Field

from hpi_agent.models.sources.credentials import Credentials, Secret
from hpi_agent.models.sources.docker_config import KEY, Login, find_login
from hpi_agent.models.sources.document import read_document
from hpi_agent.models.sources.http_client import Answer, HttpClient
from hpi_agent.models.sources.http_status import raise_for_status
from hpi_agent.models.sources.oci_reference import DOCKER_HUB, Reference
from hpi_agent.models.sources.url import Url, read_url
from hpi_core.errors import Refused, SourceFailed

REALM: Final = "realm"
"""Key of a Secret: address of the token service that its user and password may be sent to."""

TOKEN_SERVICES: Final = {
    DOCKER_HUB[-1]: "https://auth.docker.io/token",
    "registry.gitlab.com": "https://gitlab.com/jwt/auth",
}
"""Token services on other hosts than the registries that they belong to, as both say in their own documentation."""

_CHALLENGE: Final = re.compile(r'(?:^|,)\s*(basic|bearer)((?:\s+|\s*,\s*)[A-Za-z_]+="[^"]*")+', re.IGNORECASE)
_PARAMETER: Final = re.compile(r'([A-Za-z_]+)="([^"]*)"')


class _Token(BaseModel):
    token: Annotated[str, Field(max_length=65_536, pattern=r"^[!-~]*$")] | None = None
    access_token: Annotated[str, Field(max_length=65_536, pattern=r"^[!-~]*$")] | None = None


@dataclass(frozen=True)
class Challenge:
    """One way in which a registry wants to know who asks."""

    scheme: str
    """`basic` or `bearer`."""
    realm: str
    service: str


def read_challenge(header: str) -> Challenge | None:
    """Return the challenge of a header WWW-Authenticate that can be met, Bearer before Basic; None: there is none."""
    found = []
    for matched in _CHALLENGE.finditer(header):
        fields = {name.lower(): value for name, value in _PARAMETER.findall(matched[0])}
        found.append(Challenge(matched[1].lower(), fields.get("realm", ""), fields.get("service", "")))
    return next(iter(sorted(found, key=lambda one: one.scheme != "bearer")), None)


def login_of(credentials: Credentials | None, reference: Reference) -> Login | None:
    """Return what the credentials of a source amount to at a registry; None: nobody in particular.

    Keys: `.dockerconfigjson`; or `username` and `password` (or `token` in its place); or `token` alone, one that the
    registry itself takes.

    Raises:
        Refused: They have none of these, or nothing for this registry.
    """
    if credentials is None:
        return None
    config, user, token = (credentials.get(key) for key in (KEY, "username", "token"))
    if config is not None:
        return find_login(config, reference, credentials.name)
    if user is not None:
        return Login(user, credentials.get("password") or token or credentials.require("password"))
    if token is not None:
        return Login(token=token)
    if credentials.get("ca.crt") is not None:
        return None
    raise Refused(
        f"credentials {credentials.name!r} must have {KEY}, or username and password, or token, for a registry"
    )


@dataclass
class RegistryAccess:
    """How one artifact is read: with the authorization that its registry asked for, once it has."""

    reference: Reference
    client: HttpClient
    login: Login | None = field(default=None, repr=False)
    realm: Secret | None = field(default=None, repr=False)
    """Key `realm` of the credentials."""
    authorization: Secret | None = field(default=None, repr=False)
    """What the registry gets to see now; None: nothing."""
    note: str | None = None
    """Where user and password went besides the registry, for people."""

    def __post_init__(self) -> None:
        if self.login is not None and self.login.token is not None:
            self.authorization = Secret(f"Bearer {self.login.token.reveal()}")

    def meet(self, answer: Answer) -> None:
        """Do what a registry asks for in an answer 401, so that it may be asked again.

        Raises:
            Retry: Its token service does not answer.
            SourceFailed: It asks for credentials that there are not, or refuses those that there are.
            Refused: It wants them sent to where they must not go.
        """
        about = f"source {self.reference.source!r}: {answer.url} answers 401"
        challenge = read_challenge(answer.headers.get("www-authenticate", ""))
        if challenge is None:
            raise SourceFailed(f"{about} and asks for nothing that is known here; correct the source")
        if self.login is not None and self.login.token is not None:
            raise SourceFailed(
                f"{about}: it does not take the token in the credentials; put another one into key token"
            )
        if challenge.scheme == "basic":
            if self.login is None:
                raise SourceFailed(f"{about}; {NO_LOGIN}")
            self.authorization = _basic(self.login)
        else:
            self.authorization = self._token(self.service(challenge, about), challenge.service)

    def service(self, challenge: Challenge, about: str) -> Url:
        """Return the address of the token service that a challenge names, if it may be asked.

        Args:
            challenge: Of the registry.
            about: Begins the errors.

        Raises:
            SourceFailed: It names no address.
            Refused: User and password must not go there, or the address is not https.
        """
        registry = self.reference.registry
        try:
            service = read_url(challenge.realm)
        except Refused as refused:
            raise SourceFailed(f"{about} and names a token service that is none: {refused}") from None
        on_this_machine = registry.scheme == "http" and registry.is_loopback and service.is_loopback
        if service.scheme != "https" and not on_this_machine:
            raise Refused(f"{about} and names the token service {service}, which is not https; have that corrected")
        if self.login is None or service.origin == registry.origin:
            return service
        stated = self.realm.reveal() if self.realm is not None else TOKEN_SERVICES.get(registry.host)
        if stated is None or read_url(stated).origin != service.origin:
            allowed = f"{registry}" if stated is None else f"{registry} and {read_url(stated)}"
            raise Refused(
                f"{about} and wants user and password sent to the token service {service}; they may go to {allowed}. "
                f"If it belongs to the registry, put its address into key {REALM} of the Secret in credentialsSecretRef"
            )
        self.note = (
            f"source {self.reference.source!r}: user and password were sent to {service}, the registry's token service"
        )
        return service

    def _token(self, service: Url, name: str) -> Secret:
        scope = {"scope": f"repository:{self.reference.repository}:pull"}
        query = urlencode({**({"service": name} if name else {}), **scope})
        url = read_url(f"{service.text}{'&' if service.query else '?'}{query}")
        sent = None if self.login is None else _basic(self.login)
        with self.client.get(url, {"Accept": "application/json"}, authorization=sent) as answer:
            if answer.status in (401, 403):
                what = NO_LOGIN if self.login is None else "it does not take the user and password in the credentials"
                raise SourceFailed(
                    f"source {self.reference.source!r}: the token service {service} answers {answer.status}; {what}"
                )
            raise_for_status(answer)
            found = read_document(answer, _Token, "a token")
        token = found.token or found.access_token
        if not token:
            raise SourceFailed(f"source {self.reference.source!r}: the token service {service} answers without a token")
        return Secret(f"Bearer {token}")


NO_LOGIN: Final = (
    "it wants a user and a password: put them into a Secret (keys username and password, or .dockerconfigjson) and "
    "name it in credentialsSecretRef"
)


def _basic(login: Login) -> Secret | None:
    if login.user is None or login.password is None:
        return None
    pair = f"{login.user.reveal()}:{login.password.reveal()}".encode()
    return Secret(f"Basic {base64.b64encode(pair).decode('ascii')}")
