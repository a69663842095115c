"""`hf://OWNER/NAME[@REVISION][/PATH]`: a repository of the Hugging Face Hub, or of a mirror of it.

    GET /api/models/OWNER/NAME/revision/REVISION?blobs=true    the commit, and what it holds
    GET /OWNER/NAME/resolve/COMMIT/PATH                        the bytes, by way of another host where they are many

These two routes are all that is needed, so the project's own client asks for them. `huggingface_hub` obeys variables,
proxies and the netrc of the machine, keeps one client for the whole process, PaddleX's included, sleeps through its
retries, follows redirects to any address and looks at no peer. The tests compare this module with it.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Annotated, Final

from pydantic import BaseModel, Field

from hpi_agent.models.sources.credentials import Credentials, Secret
from hpi_agent.models.sources.document import read_document
from hpi_agent.models.sources.http import begin_of
from hpi_agent.models.sources.http_client import Answer, HttpClient, read_endpoint
from hpi_agent.models.sources.http_status import raise_for_status
from hpi_agent.models.sources.hub import HubAddress, below, encoded, read_hub_address, token_of
from hpi_agent.models.sources.protocol import Body, RemoteFile, Resolved
from hpi_agent.models.sources.url import Url
from hpi_core.digest import PREFIX
from hpi_core.errors import Overloaded, Retry, SourceFailed

DEFAULT_ENDPOINT: Final = "https://huggingface.co"
DEFAULT_REVISION: Final = "main"

GIT: Final = "git:"
"""Begins the identity of a file that Git itself holds: the SHA-1 of a head and its bytes."""

_RESET: Final = re.compile(r"(?:^|[;,\s])t=([0-9]{1,6})")
"""Seconds until the limit on requests is lifted, in the header RateLimit."""


class _Large(BaseModel):
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
    size: Annotated[int, Field(ge=0)]


class _Sibling(BaseModel):
    rfilename: Annotated[str, Field(max_length=4_096)]
    size: Annotated[int, Field(ge=0)] | None = None
    blobId: Annotated[str, Field(pattern="^[0-9a-f]{40}$")] | None = None
    lfs: _Large | None = None


class _Repository(BaseModel):
    sha: Annotated[str, Field(pattern="^[0-9a-f]{40}$")]
    siblings: Annotated[list[_Sibling], Field(max_length=100_000)]


@dataclass(frozen=True)
class HuggingFaceOrigin:
    """One folder, or one file, of one repository of the hub."""

    repository: HubAddress
    endpoint: Url
    client: HttpClient
    token: Secret | None = field(default=None, repr=False)
    """Of an account that may read the repository; None: what everybody may read."""

    @classmethod
    def at(
        cls, source: str, endpoint: str | None, credentials: Credentials | None, client: HttpClient
    ) -> HuggingFaceOrigin:
        """Return the origin of an address.

        Args:
            source: `hf://OWNER/NAME[@REVISION][/PATH]`.
            endpoint: Of the hub or of a mirror, None: `DEFAULT_ENDPOINT`. No variable of the environment is looked at.
            credentials: With the key token, or None; no token of the machine is ever used.
            client: Asks for it.

        Raises:
            Refused: The address or the endpoint is malformed, or the credentials have no token.
        """
        at = read_endpoint(endpoint or DEFAULT_ENDPOINT)
        return cls(read_hub_address(source), at, client, token_of(credentials))

    @property
    def address(self) -> str:
        """The source as it was written."""
        return self.repository.address

    @property
    def key(self) -> str:
        """Endpoint, repository, revision and path."""
        at = self.repository
        return f"hf {self.endpoint.text} {at.repository} {at.revision or DEFAULT_REVISION} {at.path}"

    @property
    def is_immutable(self) -> bool:
        """Whether the revision is a commit."""
        return self.repository.is_immutable

    def resolve(self) -> Resolved:
        """Return what is there now; see `Origin.resolve`."""
        revision = encoded(self.repository.revision or DEFAULT_REVISION)
        url = below(self.endpoint, f"/api/models/{self.repository.repository}/revision/{revision}", "blobs=true")
        with self._asked(url) as answer:
            found = read_document(answer, _Repository, "a repository: its commit (sha) and its files (siblings)")
        if self.is_immutable and found.sha != self.repository.revision:
            raise SourceFailed(
                f"source {self.address!r}: {url} answers with the commit {found.sha}; correct the endpoint"
            )
        files = self.repository.choose(_remote_file(sibling, found.sha) for sibling in found.siblings)
        return Resolved(files, found.sha)

    @contextlib.contextmanager
    def open(self, file: RemoteFile, offset: int) -> Iterator[Body]:
        """Return the bytes of a file; see `Origin.open`.

        A commit names the same bytes for ever. What Git holds is read from its beginning every time, for Git's digest
        is one of all the bytes; it is small.
        """
        url = below(self.endpoint, f"/{self.repository.repository}/resolve/{file.place}")
        is_large = file.digest is not None
        with self._asked(url, offset if is_large else 0) as answer:
            body = Body(begin_of(answer, url, offset), answer.chunks())
            yield body if is_large else Body(body.offset, _compared(body.chunks, file, str(url)))

    @contextlib.contextmanager
    def _asked(self, url: Url, offset: int = 0) -> Iterator[Answer]:
        headers = {"Range": f"bytes={offset}-"} if offset else {}
        authorization = None if self.token is None else Secret(f"Bearer {self.token.reveal()}")
        with self.client.get(url, headers, authorization=authorization) as answer:
            # Another host knows nothing of repositories and tokens, so it is not this hub that refuses there.
            if answer.url.origin == self.endpoint.origin:
                self._explain(answer)
            raise_for_status(answer)
            yield answer

    def _explain(self, answer: Answer) -> None:
        """Raise what the hub means by a refusal, so far as it says."""
        status, code = answer.status, answer.headers.get("x-error-code", "")
        about = f"source {self.address!r}: {self.endpoint}"
        if status == 429 and "retry-after" not in answer.headers:
            reset = _RESET.search(answer.headers.get("ratelimit", ""))
            if reset is not None:
                seconds = int(reset[1]) + 1
                raise Overloaded(f"{answer.url} answers 429 and lifts its limit in {seconds} s", seconds)
        if status not in (401, 403, 404):
            return
        if code == "GatedRepo":
            raise SourceFailed(
                f"{about} answers {status}: the repository is gated. Have the owner of the token accept its licence on "
                f"its page, {below(self.endpoint, f'/{self.repository.repository}')}; {self._advice()}"
            )
        if "Invalid credentials" in answer.headers.get("x-error-message", ""):
            raise SourceFailed(f"{about} answers {status}: the token is not valid; {self._advice()}")
        if code == "RevisionNotFound":
            revision = self.repository.revision or DEFAULT_REVISION
            raise SourceFailed(
                f"{about} answers {status}: there is no branch, tag or commit {revision!r}; correct what follows @"
            )
        if code == "EntryNotFound":
            raise SourceFailed(f"{about} answers {status}: a file is not there any more; try again")
        if code == "RepoNotFound" or status == 401:
            raise SourceFailed(
                f"{about} answers {status}: there is no repository {self.repository.repository!r}, or it is private. "
                f"Correct the name; {self._advice()}"
            )

    def _advice(self) -> str:
        if self.token is None:
            return "no token is given: put one that may read it into key token of the Secret in credentialsSecretRef"
        return "have the rights of the token in credentialsSecretRef corrected, or put another into its key token"


def _remote_file(sibling: _Sibling, commit: str) -> RemoteFile:
    place = f"{commit}/{encoded(sibling.rfilename, keep_slashes=True)}"
    if sibling.lfs is not None:
        return RemoteFile(sibling.rfilename, sibling.lfs.size, f"{PREFIX}{sibling.lfs.sha256}", None, place)
    # Where a mirror does not say what Git's digest is, the commit alone names the file.
    identity = None if sibling.blobId is None else f"{GIT}{sibling.blobId}"
    return RemoteFile(sibling.rfilename, sibling.size, None, identity, place)


def _compared(chunks: Iterator[bytes], file: RemoteFile, place: str) -> Iterator[bytes]:
    """Yield the bytes of a file that Git holds; the last of them only when all have Git's digest.

    Raises:
        Retry: They have another one.
    """
    stated, size = (file.identity or "").removeprefix(GIT), file.size_bytes
    if not (file.identity or "").startswith(GIT) or size is None:
        yield from chunks
        return
    digest = hashlib.sha1(b"blob %d\0" % size, usedforsecurity=False)
    held = b""
    for chunk in chunks:
        digest.update(chunk)
        if held:
            yield held
        held = chunk
    if digest.hexdigest() != stated:
        raise Retry(f"{place} came with Git's digest {digest.hexdigest()}, the hub states {stated}")
    yield held
