"""`s3://BUCKET/PREFIX`: one object, or the files of a model below a prefix, of Amazon's service or any of its kind."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote, unquote_plus
from xml.etree import ElementTree

from hpi_agent.models.sources.archive import is_archive
from hpi_agent.models.sources.credentials import Credentials, Secret
from hpi_agent.models.sources.files import MAX_LISTED, MODEL_FILES, ONNX, wanted_names
from hpi_agent.models.sources.http import FIRST_BYTE, begin_of, ranged, remote_file
from hpi_agent.models.sources.http_client import Answer, HttpClient
from hpi_agent.models.sources.http_status import raise_for_status
from hpi_agent.models.sources.protocol import Body, Changed, RemoteFile, Resolved
from hpi_agent.models.sources.signature import signed_headers
from hpi_agent.models.sources.url import Url, read_url
from hpi_core.errors import Refused, SourceFailed

DEFAULT_REGION: Final = "us-east-1"

MAX_PAGES: Final = 100
"""Most pages of a list that are read, of up to 1,000 objects each."""

MAX_ERROR_BYTES: Final = 65_536

_BUCKET: Final = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_REGION: Final = re.compile(r"[a-z0-9-]{1,40}")
_REGION_IN_HOST: Final = re.compile(r"s3[.-]([a-z]{2}[a-z0-9-]+)\.amazonaws\.com(\.cn)?")
WRONG_REGION: Final = "AuthorizationHeaderMalformed"
"""What a request that is signed for another region is answered with."""

_REGION_IN_ERROR: Final = re.compile(rb"<Region>([a-z0-9-]{1,40})</Region>")
_CODE: Final = re.compile(rb"<Code>([A-Za-z0-9.]{1,80})</Code>")


@dataclass(frozen=True)
class Bucket:
    """One bucket of one service."""

    name: str
    base: Url
    """Where its objects are, up to and with the last slash."""
    region: str

    @classmethod
    def at(cls, source: str, name: str, endpoint: Url | None, credentials: Credentials | None) -> Bucket:
        """Return a bucket of Amazon's service, or of the one behind an endpoint.

        Raises:
            Refused: The name or the region cannot be one.
        """
        if not _BUCKET.fullmatch(name):
            raise Refused(f"source {source!r} must name a bucket of 3 to 63 lower-case letters, digits, '.' and '-'")
        stated = None if credentials is None else credentials.get("region")
        matched = None if endpoint is None else _REGION_IN_HOST.fullmatch(endpoint.host)
        region = DEFAULT_REGION if matched is None else matched[1]
        region = region if stated is None else stated.reveal()
        if not _REGION.fullmatch(region):
            raise Refused(f"source {source!r}: the key region of its credentials must be one such as eu-central-1")
        if endpoint is not None:
            # With the bucket in the path: few services have a DNS name for each bucket.
            return cls(name, endpoint.joined(f"{endpoint.path.rstrip('/')}/{name}/"), region)
        # A certificate for *.s3… covers no bucket with a dot in its name.
        if "." in name:
            return cls(name, read_url(f"https://s3.{region}.amazonaws.com/{name}/"), region)
        return cls(name, read_url(f"https://{name}.s3.{region}.amazonaws.com/"), region)

    def object(self, key: str) -> Url:
        """Return the address of one object."""
        return read_url(self.base.text + quote(key, safe="/-._~"))

    def listing(self, prefix: str, token: str | None) -> Url:
        """Return the address of one page of the list of what lies below a prefix."""
        fields = {"delimiter": "/", "encoding-type": "url", "list-type": "2", "prefix": prefix}
        if token is not None:
            fields["continuation-token"] = token
        # Sorted and escaped as the signature has it.
        query = "&".join(f"{name}={quote(fields[name], safe='-._~')}" for name in sorted(fields))
        return read_url(f"{self.base.text}?{query}")


@dataclass(frozen=True)
class S3Origin:
    """One prefix, or one object, of a bucket."""

    address: str
    bucket: Bucket
    prefix: str
    """Key of the object, or of the folder without its last slash; may be empty."""
    client: HttpClient
    credentials: Credentials | None
    is_immutable: bool = False

    @property
    def key(self) -> str:
        """Service, bucket and prefix."""
        return f"s3 {self.bucket.base.text} {self.prefix}"

    def resolve(self) -> Resolved:
        """Return what is there now; see `Origin.resolve`."""
        name = self.prefix.rpartition("/")[2]
        if name.endswith(".onnx"):
            return Resolved((self._file(ONNX, self.prefix),))
        if is_archive(name):
            return Resolved((self._file(name, self.prefix),))
        folder = f"{self.prefix}/" if self.prefix else ""
        listed = [key.removeprefix(folder) for key in self._list(folder)]
        names = wanted_names(listed)
        if not names:
            raise SourceFailed(
                f"source {self.address!r} has none of {', '.join(MODEL_FILES)}; it has {listed[:MAX_LISTED]}"
            )
        # Sizes and tags of a list are not taken: some services write them otherwise there than in an answer's head.
        return Resolved(tuple(self._file(name, folder + name) for name in names))

    @contextlib.contextmanager
    def open(self, file: RemoteFile, offset: int) -> Iterator[Body]:
        """Return the bytes of a file; see `Origin.open`."""
        url = self.bucket.object(file.place)
        with self._asked(url, ranged(file, offset)) as answer:
            if answer.status == 412:
                raise Changed(f"{self.address}: {file.path} changed while it was read")
            self._raise_for_status(answer)
            seen = remote_file(answer, file.path, file.place)
            if seen.identity != file.identity:
                raise Changed(f"{self.address}: {file.path} changed while it was read")
            if seen.size_bytes is None:
                raise SourceFailed(f"{self.address}: {file.path} is stored compressed; store it as it is")
            yield Body(begin_of(answer, url, offset), answer.chunks())

    def _file(self, path: str, key: str) -> RemoteFile:
        with self._asked(self.bucket.object(key), FIRST_BYTE) as answer:
            self._raise_for_status(answer)
            return remote_file(answer, path, key)

    def _list(self, folder: str) -> Iterator[str]:
        """Yield the key of every object of a folder."""
        token: str | None = None
        for _ in range(MAX_PAGES):
            with self._asked(self.bucket.listing(folder, token), {}) as answer:
                self._raise_for_status(answer)
                page = _read_page(self.address, answer.read())
            yield from page[0]
            token = page[1]
            if token is None:
                return
        raise SourceFailed(
            f"source {self.address!r} has more than {MAX_PAGES},000 objects; name the folder of one model"
        )

    def _asked(self, url: Url, headers: Mapping[str, str]) -> contextlib.AbstractContextManager[Answer]:
        keys = self._keys()
        if keys is None:
            return self.client.get(url, headers)
        return self.client.get_signed(url, signed_headers(url, headers, keys, self.bucket.region))

    def _keys(self) -> tuple[Secret, Secret, Secret | None] | None:
        if self.credentials is None or self.credentials.get("accessKeyId") is None:
            # A public bucket whose service has a certificate of its own authority.
            return None
        access, secret = self.credentials.require("accessKeyId"), self.credentials.require("secretAccessKey")
        return access, secret, self.credentials.get("sessionToken")

    def _raise_for_status(self, answer: Answer) -> None:
        if 200 <= answer.status < 300:
            return
        # The code alone: the text of an error repeats keys and what was signed.
        body = answer.read(MAX_ERROR_BYTES) if answer.status < 500 else b""
        found, there = _CODE.search(body), _REGION_IN_ERROR.search(body)
        code = None if found is None else found[1].decode("ascii")
        region = answer.headers.get("x-amz-bucket-region") or ("" if there is None else there[1].decode("ascii"))
        if _REGION.fullmatch(region) and region != self.bucket.region:
            raise SourceFailed(
                f"source {self.address!r}: the bucket lies in {region}, it was asked for in {self.bucket.region}; put "
                f"{region} into the key region of the Secret that credentialsSecretRef names"
            )
        if answer.status in (400, 403) and code is not None:
            whose = "without credentials" if self._keys() is None else f"with credentials {self._name!r}"
            right = "s3:GetObject, and s3:ListBucket for a folder"
            must = (
                f"it was asked for in {self.bucket.region}, name another one in the key region"
                if code == WRONG_REGION
                else f"it must allow {right}"
            )
            raise SourceFailed(f"source {self.address!r}: the service refuses it ({code}) {whose}; {must}")
        if answer.status == 404 and code is not None:
            raise SourceFailed(f"source {self.address!r}: there is nothing ({code}); correct the source")
        raise_for_status(answer)

    @property
    def _name(self) -> str:
        return "" if self.credentials is None else self.credentials.name


def _read_page(address: str, document: bytes) -> tuple[list[str], str | None]:
    """Return the keys of one page of a list, and the token of the next one."""
    try:
        # The parser knows no external entities, and ends those that grow (expat since 2.4.1).
        root = ElementTree.fromstring(document)  # noqa: S314
        space = root.tag.rpartition("}")[0] + "}" if root.tag.startswith("{") else ""
        is_escaped = root.findtext(f"{space}EncodingType") == "url"
        keys = [key.text or "" for key in root.iterfind(f"{space}Contents/{space}Key")]
        is_cut = root.findtext(f"{space}IsTruncated") == "true"
        token = root.findtext(f"{space}NextContinuationToken") if is_cut else None
    except (ElementTree.ParseError, ValueError) as error:
        raise SourceFailed(
            f"source {address!r}: the service answers with no list of objects ({type(error).__name__}); correct the "
            "endpoint"
        ) from error
    return [unquote_plus(key) for key in keys] if is_escaped else keys, token
