"""How requests are taken: protocols, bounds, the queue, who may call."""

from __future__ import annotations

from typing import Annotated, ClassVar, Final, Literal

from pydantic import Field

from hpi_core.api.base import ApiModel
from hpi_core.api.rules import ListMap, ListSet, Rule
from hpi_core.api.v1alpha1.references import SecretReference
from hpi_core.api.v1alpha1.scalars import HEADER_NAME, HOST_NAME, LabelName

MAX_PRIORITIES: Final = 8

Protocol = Literal["PaddleX", "OpenInferenceREST", "OpenInferenceGRPC"]


class Limits(ApiModel):
    """Bounds on what one request may bring."""

    body_bytes: int = Field(default=64 * 2**20, ge=1_024, le=2**31 - 1)
    """Largest request body. Unit: bytes."""

    image_pixels: int = Field(default=178_956_970, ge=1, le=2**30)
    """Most pixels of one image or rendered page, width times height; PaddleX's own limit is the default."""

    image_side_pixels: int = Field(default=65_535, ge=1, le=2**20)
    """Longest side of one image. Unit: pixels."""

    pages: int = Field(default=10, ge=1, le=1_000)
    """Most pages of one document that are read, as PaddleX's `max_num_input_imgs`: a longer document is refused."""


class Priority(ApiModel):
    """One class of requests."""

    name: LabelName
    """What a request names in the header `Hpi-Priority`."""

    weight: int = Field(default=1, ge=1, le=100)
    """Share of the turns, in proportion to the other classes that have requests waiting."""


class Tenants(ApiModel):
    """How the queue is shared between callers."""

    header: str = Field(default="Hpi-Tenant", pattern=HEADER_NAME, min_length=1, max_length=64)
    """Header that names the caller's tenant; with authentication, only what the proof says counts."""

    max_waiting: int = Field(default=16, ge=1, le=10_000)
    """Requests of one tenant that may wait; one more is answered 429 with Retry-After."""


class Queue(ApiModel):
    """The queue in front of the worker."""

    length: int = Field(default=64, ge=0, le=10_000)
    """Requests that may wait while one is in service; one more is answered 503 with Retry-After."""

    priorities: Annotated[tuple[Priority, ...], Field(strict=False, max_length=MAX_PRIORITIES), ListMap(("name",))] = ()
    """Classes of requests; a request without one belongs to the first. Empty: one class."""

    tenants: Tenants | None = None
    """How the queue is shared between callers. Absent: whoever comes first is served first."""


class Timeouts(ApiModel):
    """How long things may take."""

    request_seconds: int = Field(default=60, ge=1, le=3_600)
    """From the arrival of a whole request to its answer; later it is answered 504. Unit: seconds."""

    drain_seconds: int = Field(default=30, ge=0, le=3_600)
    """How long a stopping server finishes what it has accepted. Unit: seconds."""


class Tls(ApiModel):
    """Encryption of the serving port."""

    secret_ref: SecretReference
    """Secret of type `kubernetes.io/tls` with certificate and key; a renewed one is taken without a restart."""

    client_ca_secret_ref: SecretReference | None = None
    """Secret with `ca.crt`: callers must show a certificate that it has signed. Absent: callers need none."""


class Auth(ApiModel):
    """Who may call."""

    type: Literal["None", "BearerToken", "ClientCertificate"] = "None"
    """None: whoever reaches the port. BearerToken: whoever knows a token of `tokensSecretRef`. ClientCertificate:
    whoever shows a certificate signed by `tls.clientCaSecretRef`."""

    tokens_secret_ref: SecretReference | None = None
    """Secret with one token per key; the key is the caller's name."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "(self.type == 'BearerToken') == has(self.tokensSecretRef)",
            "tokensSecretRef must be set for type BearerToken, and only then",
            lambda self: (self.type == "BearerToken") == (self.tokens_secret_ref is not None),
        ),
    )


class UrlInputs(ApiModel):
    """Whether and from where inputs that are URLs are fetched."""

    allowed_hosts: Annotated[
        tuple[Annotated[str, Field(pattern=HOST_NAME, max_length=253)], ...],
        Field(strict=False, max_length=32),
        ListSet(),
    ] = ()
    """Hosts from which a URL in a request may be fetched, such as `images.example` or `*.images.example`. Empty: URLs
    are refused."""


class Serving(ApiModel):
    """How requests are taken."""

    protocols: Annotated[tuple[Protocol, ...], Field(strict=False, min_length=1, max_length=3), ListSet()] = (
        "PaddleX",
        "OpenInferenceREST",
    )
    """What the server speaks: PaddleX's routes and bodies, the Open Inference Protocol v2 over REST, over gRPC. A
    single module has no routes of PaddleX."""

    tls: Tls | None = None
    """Encryption of the serving port. Absent: plain HTTP."""

    auth: Auth = Field(default_factory=Auth)
    """Who may call."""

    limits: Limits = Field(default_factory=Limits)
    """Bounds on what one request may bring."""

    queue: Queue = Field(default_factory=Queue)
    """The queue in front of the worker."""

    timeouts: Timeouts = Field(default_factory=Timeouts)
    """How long things may take."""

    url_inputs: UrlInputs = Field(default_factory=UrlInputs)
    """Whether and from where inputs that are URLs are fetched."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "!has(self.auth) || self.auth.type != 'ClientCertificate' || (has(self.tls)"
            " && has(self.tls.clientCaSecretRef))",
            "auth of type ClientCertificate needs tls.clientCaSecretRef",
            lambda self: (
                self.auth.type != "ClientCertificate"
                or (self.tls is not None and self.tls.client_ca_secret_ref is not None)
            ),
        ),
    )
