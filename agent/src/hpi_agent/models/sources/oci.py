"""`oci://REGISTRY[:PORT]/REPOSITORY(:TAG|@DIGEST)`: a model as an artifact, or an image, of a registry.

    GET /v2/REPOSITORY/manifests/TAG      what the artifact consists of; its digest names it for ever
    GET /v2/REPOSITORY/blobs/DIGEST       the bytes of one layer, often by way of another host

The project's own client asks for these two routes and for a token. `oras` for Python cannot ask for a part of a blob,
reads the configuration of Docker of the machine, starts its credential helpers, sends passwords to any token service,
and follows redirects to any address. The tests push with it.

Source: Open Container Initiative, Distribution Specification 1.1.1, "Pull".
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from hpi_agent.models.sources.credentials import Credentials
from hpi_agent.models.sources.document import parse_document
from hpi_agent.models.sources.http import begin_of
from hpi_agent.models.sources.http_client import Answer, HttpClient
from hpi_agent.models.sources.http_status import raise_for_status
from hpi_agent.models.sources.oci_auth import NO_LOGIN, REALM, RegistryAccess, login_of
from hpi_agent.models.sources.oci_manifest import (
    INDEX_TYPES,
    MANIFEST_TYPES,
    MAX_MANIFEST_BYTES,
    Manifest,
    choose_manifest,
    files_of,
)
from hpi_agent.models.sources.oci_reference import Reference, read_reference
from hpi_agent.models.sources.protocol import Body, RemoteFile, Resolved
from hpi_agent.models.sources.url import Url
from hpi_core.digest import digest_of_bytes
from hpi_core.errors import Retry, SourceFailed

ACCEPTED: Final = ", ".join((*MANIFEST_TYPES, *INDEX_TYPES))


@dataclass(frozen=True)
class OciOrigin:
    """One artifact of a registry."""

    reference: Reference
    access: RegistryAccess

    @classmethod
    def at(cls, source: str, credentials: Credentials | None, client: HttpClient) -> OciOrigin:
        """Return the origin of an address.

        Args:
            source: `oci://REGISTRY[:PORT]/REPOSITORY(:TAG|@DIGEST)`.
            credentials: See `login_of`; no configuration of the machine is ever read.
            client: Asks for it.

        Raises:
            Refused: The address is malformed, or the credentials have nothing for its registry.
        """
        reference = read_reference(source)
        realm = None if credentials is None else credentials.get(REALM)
        return cls(reference, RegistryAccess(reference, client, login_of(credentials, reference), realm))

    @property
    def address(self) -> str:
        """The source as it was written."""
        return self.reference.source

    @property
    def key(self) -> str:
        """Registry, repository, and digest or tag."""
        return f"oci {self.reference.registry.text} {self.reference.repository} {self.reference.wanted}"

    @property
    def is_immutable(self) -> bool:
        """Whether the address has a digest."""
        return self.reference.digest is not None

    def resolve(self) -> Resolved:
        """Return what is there now; see `Origin.resolve`."""
        manifest, digest = self._manifest(self.reference.wanted)
        if manifest.manifests is not None:
            chosen = choose_manifest(self.address, manifest.manifests)
            manifest, digest = self._manifest(chosen.digest)
        if manifest.layers is None:
            kind = manifest.mediaType or manifest.artifactType or "no type"
            raise SourceFailed(
                f"source {self.address!r}: {digest} has no layers ({kind}); name the artifact of a model"
            )
        notes = () if self.access.note is None else (self.access.note,)
        return Resolved(files_of(self.address, manifest.layers), digest, notes)

    @contextlib.contextmanager
    def open(self, file: RemoteFile, offset: int) -> Iterator[Body]:
        """Return the bytes of a layer; see `Origin.open`. A digest names the same bytes for ever."""
        url = self.reference.route("blobs", file.place)
        with self._asked(url, {"Range": f"bytes={offset}-"} if offset else {}) as answer:
            yield Body(begin_of(answer, url, offset), answer.chunks())

    def _manifest(self, name: str) -> tuple[Manifest, str]:
        """Return a manifest and its digest: of these very bytes, not what the registry says it is."""
        url = self.reference.route("manifests", name)
        with self._asked(url, {"Accept": ACCEPTED}) as answer:
            content = answer.read(MAX_MANIFEST_BYTES)
        digest = digest_of_bytes([content])
        stated = name if ":" in name else answer.headers.get("docker-content-digest", digest)
        if stated.startswith("sha256:") and stated != digest:
            raise Retry(f"{url} came with the digest {digest}, it should have {stated}")
        return parse_document(content, Manifest, f"{url} must answer with a manifest or an index of OCI"), digest

    @contextlib.contextmanager
    def _asked(self, url: Url, headers: dict[str, str]) -> Iterator[Answer]:
        with contextlib.ExitStack() as stack:
            answer = stack.enter_context(self._get(url, headers))
            if answer.status == 401 and answer.url.origin == self.reference.registry.origin:
                # Asked for the first time, or the token has expired meanwhile.
                self.access.meet(answer)
                stack.close()
                answer = stack.enter_context(self._get(url, headers))
            self._explain(answer)
            raise_for_status(answer)
            yield answer

    def _get(self, url: Url, headers: dict[str, str]) -> contextlib.AbstractContextManager[Answer]:
        return self.access.client.get(url, headers, authorization=self.access.authorization)

    def _explain(self, answer: Answer) -> None:
        """Raise what the registry means by a refusal; another host, where it keeps its blobs, knows no users."""
        if answer.url.origin != self.reference.registry.origin:
            return
        about = f"source {self.address!r}: {answer.url} answers {answer.status}"
        what = f"the artifact {self.reference.repository} {self.reference.wanted}"
        if answer.status in (401, 403):
            login = NO_LOGIN if self.access.login is None else "the credentials have no right to it"
            raise SourceFailed(f"{about}: {what} is not there, or {login}")
        if answer.status == 404:
            raise SourceFailed(f"{about}: {what} is not there; correct the source")
