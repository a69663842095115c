"""What both model hubs have: addresses `SCHEME://OWNER/NAME[@REVISION][/PATH]`, and a list of files to choose from."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Final
from urllib.parse import quote, unquote

from hpi_agent.models.sources.archive import is_archive
from hpi_agent.models.sources.credentials import Credentials, Secret
from hpi_agent.models.sources.files import MAX_LISTED, MODEL_FILES, ONNX, wanted_names
from hpi_agent.models.sources.protocol import RemoteFile
from hpi_agent.models.sources.url import Url, read_url
from hpi_core.errors import Refused, SourceFailed

COMMIT: Final = re.compile("[0-9a-f]{40}")
"""A revision that is a commit: it names the same files for ever."""

_SOURCE: Final = re.compile(r"[a-z]+://([^/@?#]+)/([^/@?#]+)(?:@([^/@?#]+))?(?:/([^?#]*))?")
_NAME: Final = re.compile(r"(?!.*(?:--|\.\.))[A-Za-z0-9](?:[A-Za-z0-9._-]{0,94}[A-Za-z0-9])?")
"""Names of owners and repositories, as huggingface_hub checks them."""
_FORBIDDEN: Final = re.compile(r"[\x00-\x1f\x7f\\\ud800-\udfff]")
_MAX_LETTERS: Final = 1_024


@dataclass(frozen=True)
class HubAddress:
    """One folder, or one file, of one repository."""

    address: str
    """As it was written; it holds no secret."""
    owner: str
    name: str
    revision: str | None
    """A branch, a tag or a commit; None: the hub's own default branch."""
    path: str
    """Inside the repository, without slashes at its ends; empty: all of it."""

    @property
    def repository(self) -> str:
        """OWNER/NAME."""
        return f"{self.owner}/{self.name}"

    @property
    def is_immutable(self) -> bool:
        """Whether the revision is a commit."""
        return self.revision is not None and COMMIT.fullmatch(self.revision) is not None

    @property
    def is_file(self) -> bool:
        """Whether the path names one file, an ONNX file or an archive, and no folder."""
        return self.path.endswith(".onnx") or is_archive(self.path)

    @property
    def folder(self) -> str:
        """The folder that is looked at."""
        return self.path.rpartition("/")[0] if self.is_file else self.path

    def choose(self, listed: Iterable[RemoteFile]) -> tuple[RemoteFile, ...]:
        """Return the files of the model among those of a repository.

        Args:
            listed: Files by their paths in the repository; those of other folders are passed over, so that whatever a
                path is made of, only known names come out.

        Raises:
            SourceFailed: There is no such file, or no file of a model in the folder.
        """
        within = f"{self.folder}/" if self.folder else ""
        paths = {file.path.removeprefix(within): file for file in listed if file.path.startswith(within)}
        here = {name: file for name, file in paths.items() if "/" not in name}
        seen = f"there are {sorted(here)[:MAX_LISTED]}" if here else "there is nothing"
        if self.is_file:
            name = self.path.rpartition("/")[2]
            if name not in here:
                raise SourceFailed(f"source {self.address!r} has no such file; {seen} in {self.folder or '/'!r}")
            return (replace(here[name], path=ONNX if name.endswith(".onnx") else name),)
        names = wanted_names(here)
        if not names:
            raise SourceFailed(
                f"source {self.address!r} has none of {', '.join(MODEL_FILES)} in {self.folder or '/'!r}; {seen}. Name "
                "the folder of a model, or one ONNX file, in the address: OWNER/NAME/PATH"
            )
        return tuple(replace(here[name], path=name) for name in names)


def read_hub_address(source: str) -> HubAddress:
    """Return what an address of a hub names.

    Raises:
        Refused: It is malformed.
    """
    found = _SOURCE.fullmatch(source) if len(source) <= _MAX_LETTERS else None
    if found is None:
        scheme = source.partition("://")[0][:20]
        raise Refused(
            f"source {source[:200]!r} must be {scheme}://OWNER/NAME[@REVISION][/PATH] without '?' and '#'; write a "
            "slash inside of REVISION as %2F"
        )
    owner, name, revision, path = (unquote(part) if part else "" for part in found.groups())
    if not _NAME.fullmatch(owner) or not _NAME.fullmatch(name):
        raise Refused(
            f"source {source!r}: OWNER and NAME are letters, digits, '-', '_' and '.', at most 96 each, with no '--' "
            "and '..' in them"
        )
    path = path.strip("/")
    for text in filter(None, (revision, path)):
        if _FORBIDDEN.search(text) or any(part in ("", ".", "..") for part in text.split("/")):
            raise Refused(
                f"source {source!r}: REVISION and PATH must have no empty part, no '.' and '..', no backslashes and no "
                "control characters"
            )
    return HubAddress(source, owner, name, revision or None, path)


def token_of(credentials: Credentials | None) -> Secret | None:
    """Return the token among the credentials of a hub, or None where they have a certificate alone.

    Raises:
        Refused: They have neither.
    """
    if credentials is None:
        return None
    return credentials.get("token") if credentials.get("ca.crt") is not None else credentials.require("token")


def below(endpoint: Url, path: str, query: str = "") -> Url:
    """Return an address below an endpoint, which may have a path of its own, as proxies of hubs do.

    Args:
        endpoint: Of the service.
        path: Begins with a slash; percent-encoded.
        query: Without its question mark; percent-encoded.
    """
    return read_url(f"{endpoint.text.rstrip('/')}{path}{f'?{query}' if query else ''}")


def encoded(text: str, *, keep_slashes: bool = False) -> str:
    """Return a text percent-encoded for one part of a path, or for several."""
    return quote(text, safe="/" if keep_slashes else "")
