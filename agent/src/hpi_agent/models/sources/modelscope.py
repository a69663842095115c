"""`modelscope://OWNER/NAME[@REVISION][/PATH]`: a repository of ModelScope.

    GET /api/v1/models/OWNER/NAME/repo/files?Revision=…&Root=…    what a folder holds, with the SHA-256 of every file
    GET /api/v1/models/OWNER/NAME/repo?Revision=…&FilePath=…      the bytes, by way of another host where they are many

The project's own client asks for these two routes. `modelscope_hub` takes 0.7 s to import and `modelscope` 1.4 s, both
read tokens and write files below the home directory, and their cookie goes to whatever host a redirect leads to.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Annotated, Final
from urllib.parse import urlencode

from pydantic import BaseModel, Field

from hpi_agent.models.sources.credentials import Credentials, Secret
from hpi_agent.models.sources.document import read_document
from hpi_agent.models.sources.http import begin_of
from hpi_agent.models.sources.http_client import Answer, HttpClient, read_endpoint
from hpi_agent.models.sources.http_status import raise_for_status
from hpi_agent.models.sources.hub import HubAddress, below, read_hub_address, token_of
from hpi_agent.models.sources.protocol import Body, Changed, RemoteFile, Resolved
from hpi_agent.models.sources.url import Url
from hpi_core.digest import PREFIX
from hpi_core.errors import SourceFailed

DEFAULT_ENDPOINT: Final = "https://modelscope.cn"
DEFAULT_REVISION: Final = "master"

MAX_ENTRIES: Final = 3_000
"""Most entries of one list; the hub leaves out the rest without a word (modelscope_hub 0.5, constants.py)."""


class _Entry(BaseModel):
    Path: Annotated[str, Field(max_length=4_096)]
    Type: str = "blob"
    Size: Annotated[int, Field(ge=0)] | None = None
    Sha256: Annotated[str, Field(pattern="^([0-9a-f]{64})?$")] | None = None
    Revision: Annotated[str, Field(max_length=256)] | None = None


class _Files(BaseModel):
    Files: Annotated[list[_Entry], Field(max_length=100_000)]


class _Listing(BaseModel):
    Data: _Files


@dataclass(frozen=True)
class ModelScopeOrigin:
    """One folder, or one file, of one repository of the hub."""

    repository: HubAddress
    endpoint: Url
    client: HttpClient
    token: Secret | None = field(default=None, repr=False)
    """Of an account that may read the repository; None: what everybody may read."""

    @classmethod
    def at(
        cls, source: str, endpoint: str | None, credentials: Credentials | None, client: HttpClient
    ) -> ModelScopeOrigin:
        """Return the origin of an address.

        Args:
            source: `modelscope://OWNER/NAME[@REVISION][/PATH]`.
            endpoint: Of the hub, None: `DEFAULT_ENDPOINT`. No variable of the environment is looked at.
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
        return f"modelscope {self.endpoint.text} {self.repository.repository} {self._revision} {self.repository.path}"

    @property
    def is_immutable(self) -> bool:
        """Whether the revision is a commit."""
        return self.repository.is_immutable

    def resolve(self) -> Resolved:
        """Return what is there now; see `Origin.resolve`.

        The hub names no commit of all that it lists. The digests of the files name what is there as well.
        """
        return Resolved(self._files(), self.repository.revision if self.is_immutable else None)

    @contextlib.contextmanager
    def open(self, file: RemoteFile, offset: int) -> Iterator[Body]:
        """Return the bytes of a file; see `Origin.open`.

        A branch may have moved since it was resolved, and the bytes do not say so: the list is asked for once more.
        """
        if not self.is_immutable and file not in self._files():
            raise Changed(f"source {self.address!r}: {file.path} changed while it was read")
        url = self._url("repo", {"Revision": self._revision, "FilePath": file.place})
        is_named = file.digest is not None or self.is_immutable
        with self._asked(url, offset if is_named else 0) as answer:
            yield Body(begin_of(answer, url, offset), answer.chunks())

    @property
    def _revision(self) -> str:
        return self.repository.revision or DEFAULT_REVISION

    def _files(self) -> tuple[RemoteFile, ...]:
        root = {"Root": self.repository.folder} if self.repository.folder else {}
        url = self._url("repo/files", {"Revision": self._revision, "Recursive": "False", **root})
        with self._asked(url) as answer:
            entries = read_document(answer, _Listing, "a list of files (Data.Files)").Data.Files
        if len(entries) >= MAX_ENTRIES:
            raise SourceFailed(
                f"source {self.address!r}: its folder has {MAX_ENTRIES} entries or more, and the hub lists no more "
                "than that; name a smaller folder, or one file, with /PATH"
            )
        return self.repository.choose(_remote_file(entry) for entry in entries if entry.Type != "tree")

    def _url(self, route: str, query: dict[str, str]) -> Url:
        return below(self.endpoint, f"/api/v1/models/{self.repository.repository}/{route}", urlencode(query))

    @contextlib.contextmanager
    def _asked(self, url: Url, offset: int = 0) -> Iterator[Answer]:
        headers = {"Range": f"bytes={offset}-"} if offset else {}
        bearer = session = None
        if self.token is not None:
            # Its older routes know a token by the cookie of a session, its newer ones by this header; its own client
            # sends both.
            bearer = Secret(f"Bearer {self.token.reveal()}")
            session = Secret(f"m_session_id={self.token.reveal()}")
        with self.client.get(url, headers, authorization=bearer, cookie=session) as answer:
            # Another host knows nothing of repositories and tokens, so it is not this hub that refuses there.
            if answer.url.origin == self.endpoint.origin:
                self._explain(answer)
            raise_for_status(answer)
            yield answer

    def _explain(self, answer: Answer) -> None:
        about = f"source {self.address!r}: {self.endpoint} answers {answer.status}"
        if answer.status in (401, 403):
            what = "none is given" if self.token is None else "the one given has no right to it, or is not valid"
            raise SourceFailed(
                f"{about}: the repository {self.repository.repository!r} is private; put a token that may read it into "
                f"key token of the Secret that credentialsSecretRef names ({what})"
            )
        if answer.status == 404:
            raise SourceFailed(
                f"{about}: there is no repository {self.repository.repository!r}, or it has no branch, tag or commit "
                f"{self._revision!r}, or no {self.repository.path or 'files'!r}; correct the source"
            )


def _remote_file(entry: _Entry) -> RemoteFile:
    digest = f"{PREFIX}{entry.Sha256}" if entry.Sha256 else None
    return RemoteFile(entry.Path, entry.Size, digest, entry.Revision or None, entry.Path)
