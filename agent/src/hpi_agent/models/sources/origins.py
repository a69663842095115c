"""The table of schemes: from an address and its credentials to an origin that can be read."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Final

from hpi_agent.models.sources.credentials import Credentials, Secret, read_credentials
from hpi_agent.models.sources.http import HttpOrigin
from hpi_agent.models.sources.http_client import HttpClient, read_endpoint
from hpi_agent.models.sources.hugging_face import HuggingFaceOrigin
from hpi_agent.models.sources.modelscope import ModelScopeOrigin
from hpi_agent.models.sources.oci import OciOrigin
from hpi_agent.models.sources.protocol import Origin
from hpi_agent.models.sources.s3 import Bucket, S3Origin
from hpi_agent.models.sources.settings import SourceRequest, SourceSettings
from hpi_agent.models.sources.url import read_url, shown_address
from hpi_core.errors import Refused


@dataclass(frozen=True)
class Opening:
    """What is at hand to open one address."""

    request: SourceRequest
    client: HttpClient
    credentials: Credentials | None

    @property
    def address(self) -> str:
        """The source for people: without any secret."""
        return shown_address(self.request.source)

    def authorization(self) -> Secret | None:
        """Return the header `Authorization` that the credentials amount to: a token, or user and password."""
        if self.credentials is None:
            return None
        token = self.credentials.get("token")
        if token is not None:
            return Secret(f"Bearer {token.reveal()}")
        if self.credentials.get("username") is None:
            return None
        user, password = self.credentials.require("username"), self.credentials.require("password")
        return basic(user, password)


def basic(user: Secret, password: Secret) -> Secret:
    """Return the header of HTTP's basic scheme (RFC 7617)."""
    pair = f"{user.reveal()}:{password.reveal()}".encode()
    return Secret(f"Basic {base64.b64encode(pair).decode('ascii')}")


def _http(opening: Opening) -> Origin:
    return HttpOrigin(read_url(opening.request.source), opening.client, opening.authorization())


def _s3(opening: Opening) -> Origin:
    source = opening.request.source
    matched = re.fullmatch(r"s3://([^/]+)(?:/([^\\\x00-\x1f\x7f]*))?", source)
    if matched is None or "?" in source or "#" in source or "@" in source:
        raise Refused(f"source {opening.address!r} must be s3://BUCKET/PREFIX without user, ? and #")
    endpoint = None if opening.request.endpoint is None else read_endpoint(opening.request.endpoint)
    bucket = Bucket.at(source, matched[1], endpoint, opening.credentials)
    return S3Origin(source, bucket, (matched[2] or "").strip("/"), opening.client, opening.credentials)


def _hugging_face(opening: Opening) -> Origin:
    return HuggingFaceOrigin.at(opening.request.source, opening.request.endpoint, opening.credentials, opening.client)


def _modelscope(opening: Opening) -> Origin:
    return ModelScopeOrigin.at(opening.request.source, opening.request.endpoint, opening.credentials, opening.client)


def _oci(opening: Opening) -> Origin:
    return OciOrigin.at(opening.request.source, opening.credentials, opening.client)


Opener = Callable[[Opening], Origin]

ORIGINS: Final[Mapping[str, Opener]] = {
    "http": _http,
    "https": _http,
    "s3": _s3,
    "hf": _hugging_face,
    "modelscope": _modelscope,
    "oci": _oci,
}
"""Schemes of sources that are fetched."""


def open_origin(request: SourceRequest, settings: SourceSettings) -> Origin:
    """Return what a source is read from; nothing is asked yet.

    Raises:
        Refused: Its scheme is unknown, or the address or the credentials cannot be right.
        SourceFailed: Its credentials are not there.
    """
    scheme = request.source.partition("://")[0]
    opener = ORIGINS.get(scheme)
    if opener is None:
        raise Refused(
            f"source {shown_address(request.source)!r} has the scheme {scheme[:40]!r}; there are package, file, pvc, "
            f"{', '.join(ORIGINS)}"
        )
    credentials = None if request.credentials is None else read_credentials(settings.credentials, request.credentials)
    ca = None if credentials is None else credentials.get("ca.crt")
    client = HttpClient(
        None if ca is None else ca.reveal(), settings.timeouts, plain_allowed=request.digest is not None
    )
    asked = replace(request, endpoint=request.endpoint or settings.endpoints.get(scheme))
    return opener(Opening(asked, client, credentials))
