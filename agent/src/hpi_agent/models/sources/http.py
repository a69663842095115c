"""`http(s)://`: one ONNX file, an archive, or a folder with the files of a model."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from hpi_agent.models.sources.archive import is_archive
from hpi_agent.models.sources.credentials import Secret
from hpi_agent.models.sources.files import MODEL_FILES, ONNX
from hpi_agent.models.sources.http_client import Answer, HttpClient
from hpi_agent.models.sources.http_status import raise_for_status
from hpi_agent.models.sources.protocol import Body, Changed, RemoteFile, Resolved
from hpi_agent.models.sources.url import Url
from hpi_core.errors import Refused, Retry, SourceFailed

NOTHING_THERE: Final = (403, 404, 410)
"""What a file that is not there is answered with; stores of objects say 403 to those who may not list them."""

GZIP: Final = ("gzip", "x-gzip")
_RANGE: Final = re.compile(r"bytes ([0-9]{1,18})-([0-9]{1,18})/([0-9]{1,18}|\*)")


@dataclass(frozen=True)
class HttpOrigin:
    """One address of http or https."""

    url: Url
    client: HttpClient
    authorization: Secret | None = field(default=None, repr=False)
    is_immutable: bool = False
    """Nothing in such an address says that its content never changes."""

    @property
    def address(self) -> str:
        """The address without its query."""
        return str(self.url)

    @property
    def key(self) -> str:
        """The whole address."""
        return self.url.text

    def resolve(self) -> Resolved:
        """Return what is there now; see `Origin.resolve`."""
        name = self.url.path.rpartition("/")[2]
        if not name:
            return self._resolve_folder()
        if name.endswith(".onnx"):
            return Resolved((self._file(self.url, ONNX),))
        if is_archive(name):
            return Resolved((self._file(self.url, name),))
        raise Refused(
            f"source {self.address!r} must end in .onnx (one ONNX file), .tar, .tar.gz or .tgz (an archive), or / (a "
            f"folder with {', '.join(MODEL_FILES)})"
        )

    @contextlib.contextmanager
    def open(self, file: RemoteFile, offset: int) -> Iterator[Body]:
        """Return the bytes of a file; see `Origin.open`."""
        url = self.url.joined(file.place) if file.place else self.url
        with self._get(url, ranged(file, offset)) as answer:
            raise_for_status(answer)
            seen = remote_file(answer, file.path, file.place)
            if (seen.identity, seen.size_bytes) != (file.identity, file.size_bytes):
                raise Changed(f"{url} changed while it was read")
            begin = begin_of(answer, url, offset)
            yield Body(begin, answer.chunks(decoded=_is_encoded(answer, file.path)))

    def _resolve_folder(self) -> Resolved:
        found = [self._optional(name) for name in MODEL_FILES]
        files = tuple(file for file in found if isinstance(file, RemoteFile))
        if not files:
            seen = sorted({status for status in found if isinstance(status, int)})
            raise SourceFailed(
                f"source {self.address!r} has none of {', '.join(MODEL_FILES)} (it answers {seen}); correct the "
                "source, or name a Secret in credentialsSecretRef"
            )
        return Resolved(files)

    def _optional(self, name: str) -> RemoteFile | int:
        url = self.url.joined(name)
        with self._get(url, FIRST_BYTE) as answer:
            if answer.status in NOTHING_THERE:
                return answer.status
            return _checked(answer, name, name)

    def _file(self, url: Url, path: str) -> RemoteFile:
        with self._get(url, FIRST_BYTE) as answer:
            return _checked(answer, path, "")

    def _get(self, url: Url, headers: Mapping[str, str]) -> contextlib.AbstractContextManager[Answer]:
        return self.client.get(url, headers, authorization=self.authorization)


FIRST_BYTE: Final = {"Range": "bytes=0-0"}
"""Asks for one byte and so learns size and identity: a HEAD request is refused where the address is signed for GET."""


def remote_file(answer: Answer, path: str, place: str) -> RemoteFile:
    """Return what the head of an answer says of a file."""
    encoded = _is_encoded(answer, path)
    return RemoteFile(path, None if encoded else _size(answer), None, _identity(answer), place)


def _checked(answer: Answer, path: str, place: str) -> RemoteFile:
    # An empty file has no first byte: 416, and its size behind the slash.
    if answer.status == 416 and answer.headers.get("content-range", "").replace(" ", "") == "bytes*/0":
        raise SourceFailed(f"{answer.url} is empty; deliver the model again")
    raise_for_status(answer)
    return remote_file(answer, path, place)


def _identity(answer: Answer) -> str | None:
    # A server may give several versions one date of change, so the size goes with it.
    etag, modified = answer.headers.get("etag"), answer.headers.get("last-modified")
    if etag is not None:
        return etag
    size = _size(answer)
    return None if modified is None or size is None else f"{modified} {size}"


def _size(answer: Answer) -> int | None:
    ranged = _RANGE.fullmatch(answer.headers.get("content-range", ""))
    if answer.status == 206:
        return int(ranged[3]) if ranged is not None and ranged[3] != "*" else None
    length = answer.headers.get("content-length", "")
    return int(length) if re.fullmatch("[0-9]{1,18}", length) else None


def ranged(file: RemoteFile, offset: int) -> dict[str, str]:
    """Return the headers that ask for the rest of exactly this file.

    A weak tag or a date does not tell two versions of one second apart (RFC 9110, 8.8.3), and of what is compressed on
    its way no range is known: then all of it is asked for.
    """
    strong = file.identity is not None and file.identity.startswith('"')
    if not offset or not strong or file.size_bytes is None:
        return {}
    return {"Range": f"bytes={offset}-", "If-Range": file.identity or ""}


def begin_of(answer: Answer, url: Url, offset: int) -> int:
    """Return where the body of an answer begins in its file: at the offset that was asked for, or at 0.

    Raises:
        Retry: It begins elsewhere.
    """
    if answer.status != 206:
        return 0
    ranged = _RANGE.fullmatch(answer.headers.get("content-range", ""))
    if ranged is None or int(ranged[1]) != offset:
        raise Retry(f"{url} was asked for its bytes from {offset} on and answers with others")
    return offset


def _is_encoded(answer: Answer, path: str) -> bool:
    coding = answer.headers.get("content-encoding", "identity").strip().lower()
    if coding in ("", "identity"):
        return False
    if coding not in GZIP:
        raise SourceFailed(
            f"{answer.url} sends the file in the coding {coding[:40]!r} though none was asked for; switch that off"
        )
    # Some servers call the compression of the archive itself a coding of the transfer.
    return not path.endswith((".gz", ".tgz"))
