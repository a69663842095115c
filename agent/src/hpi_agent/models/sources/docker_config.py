"""`.dockerconfigjson` of a Secret: which user and password it has for a registry.

No program is started for it (`credHelpers`, `credsStore`): a Secret holds what it says, or it does not help.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass, field
from typing import Annotated, Final

from pydantic import BaseModel, Field

from hpi_agent.models.sources.credentials import Secret
from hpi_agent.models.sources.document import parse_document
from hpi_agent.models.sources.files import MAX_LISTED
from hpi_agent.models.sources.oci_reference import DOCKER_HUB, Reference
from hpi_core.errors import Refused, SourceFailed

KEY: Final = ".dockerconfigjson"


class _Entry(BaseModel):
    auth: str | None = None
    username: str | None = None
    password: str | None = None
    identitytoken: str | None = None
    registrytoken: str | None = None


class _Config(BaseModel):
    auths: Annotated[dict[str, _Entry], Field(max_length=1_000)]


@dataclass(frozen=True)
class Login:
    """What somebody is known by at a registry: user and password, or a token that the registry itself takes."""

    user: Secret | None = field(default=None, repr=False)
    password: Secret | None = field(default=None, repr=False)
    token: Secret | None = field(default=None, repr=False)


def find_login(config: Secret, reference: Reference, name: str) -> Login:
    """Return what a configuration of Docker has for a registry; of several entries the one for the longest path.

    Args:
        config: Content of `.dockerconfigjson`.
        reference: What is to be read.
        name: Of the Secret.

    Raises:
        Refused: It has nothing for the registry, or something that cannot be used.
    """
    where = f"key {KEY} of the credentials {name!r}"
    try:
        entries = parse_document(
            config.reveal().encode("utf-8"), _Config, f"{where} must be a configuration of Docker"
        ).auths
    except SourceFailed as failure:
        problem = str(failure)
    else:
        return _login(_find(entries, reference, where), where)
    raise Refused(problem)


def _find(entries: dict[str, _Entry], reference: Reference, where: str) -> _Entry:
    place = f"{_authority(reference)}/{reference.repository}/"
    fitting = [key for key in entries if place.startswith(f"{_place(key)}/")]
    if not fitting:
        raise Refused(
            f"{where} has nothing for {_authority(reference)}, only for {sorted(map(_place, entries))[:MAX_LISTED]}; "
            "add it, or name another Secret"
        )
    return entries[max(fitting, key=lambda key: len(_place(key)))]


def _authority(reference: Reference) -> str:
    registry = reference.registry
    return registry.text.partition("://")[2].rstrip("/")


def _place(key: str) -> str:
    """Return host, port and path of a key; Docker writes https://HOST/v1/ for its own registry, and so do others."""
    place = key.partition("://")[2] if "://" in key else key
    host, _, path = place.strip("/").partition("/")
    path = "" if path in ("v1", "v2") else path
    host = DOCKER_HUB[-1] if host.lower() in DOCKER_HUB else host.lower().removesuffix(":443")
    return f"{host}/{path}" if path else host


def _login(entry: _Entry, where: str) -> Login:
    if entry.registrytoken:
        return Login(token=Secret(entry.registrytoken))
    user, password = entry.username or "", entry.password or ""
    if entry.auth:
        try:
            decoded: str | None = base64.b64decode(entry.auth, validate=True).decode("utf-8")
        except (binascii.Error, UnicodeDecodeError):
            decoded = None
        if decoded is None or ":" not in decoded:
            # What it holds instead is not told: it may be a secret with one wrong letter.
            raise Refused(f"{where}: auth must be base64 of USER:PASSWORD; make it again with docker login")
        user, _, password = decoded.partition(":")
    if not user or not password:
        instead = " but an identitytoken, which is not used here" if entry.identitytoken else ""
        raise Refused(
            f"{where} has no user and password for the registry{instead}; put a user and an access token into it "
            "(auth: base64 of USER:TOKEN)"
        )
    return Login(Secret(user), Secret(password))
