"""`oci://REGISTRY[:PORT]/REPOSITORY(:TAG|@DIGEST)`: the name of an artifact in a registry.

Source: Open Container Initiative, Distribution Specification 1.1.1, "Pulling manifests", for the names.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from hpi_agent.models.sources.url import Url, read_url
from hpi_core.digest import PATTERN
from hpi_core.errors import Refused

DOCKER_HUB: Final = ("docker.io", "index.docker.io", "registry-1.docker.io")
"""Names of Docker's registry; the last one is where it is."""

_PART: Final = "[a-z0-9]+(?:(?:\\.|_|__|-+)[a-z0-9]+)*"
_REPOSITORY: Final = re.compile(f"{_PART}(?:/{_PART})*")
_TAG: Final = re.compile("[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
_SOURCE: Final = re.compile("oci://([^/?#@]+)/([^:@]+)(?::([^:@/]+))?(?:@([^@/]+))?")
_MAX_LETTERS: Final = 512


@dataclass(frozen=True)
class Reference:
    """One artifact, or the one that a tag names at the moment."""

    source: str
    """As it was written; it holds no secret."""
    registry: Url
    """Address of the registry, with the path `/`."""
    repository: str
    tag: str | None
    digest: str | None
    """`sha256:<hex>` of the manifest; it counts where a tag stands beside it. One of the two is there."""

    @property
    def wanted(self) -> str:
        """What is asked for: the digest, else the tag."""
        return self.digest or self.tag or ""

    def route(self, kind: str, name: str) -> Url:
        """Return the address of a manifest or blob.

        Args:
            kind: `manifests` or `blobs`.
            name: A tag or a digest.
        """
        return read_url(f"{self.registry.text.rstrip('/')}/v2/{self.repository}/{kind}/{name}")


def read_reference(source: str) -> Reference:
    """Return what an address names.

    A registry on this machine (localhost, 127.0.0.0/8, ::1) is spoken to without TLS, as Docker does; no other one.

    Raises:
        Refused: It is malformed, or names neither tag nor digest.
    """
    found = _SOURCE.fullmatch(source) if len(source) <= _MAX_LETTERS else None
    shape = "oci://REGISTRY[:PORT]/REPOSITORY followed by :TAG or @sha256:DIGEST"
    if found is None:
        raise Refused(f"source {source[:200]!r} must be {shape}")
    host, repository, tag, digest = found.groups()
    registry = read_url(f"https://{host}/")
    if registry.is_loopback:
        registry = read_url(f"http://{host}/")
    if registry.host in DOCKER_HUB:
        registry = read_url(f"https://{DOCKER_HUB[-1]}/")
        repository = repository if "/" in repository else f"library/{repository}"
    if not _REPOSITORY.fullmatch(repository):
        raise Refused(
            f"source {source!r}: a repository is lower-case letters, digits, '.', '_', '-' and '/', got {repository!r}"
        )
    if tag is None and digest is None:
        raise Refused(f"source {source!r} must be {shape}: no tag is assumed here, not even latest")
    if tag is not None and not _TAG.fullmatch(tag):
        raise Refused(f"source {source!r}: a tag is up to 128 letters, digits, '_', '.' and '-', got {tag!r}")
    if digest is not None and not PATTERN.fullmatch(digest):
        raise Refused(f"source {source!r}: a digest is sha256: and 64 hexadecimal digits, got {digest!r}")
    return Reference(source, registry, repository, tag, digest)
