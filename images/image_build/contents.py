"""What is in an image beyond its base: which package weighs what, what it says of itself, its list of parts."""

from __future__ import annotations

import csv
import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from hpi_core.errors import Stop
from image_build.oci_archive import LayerFile

SBOM: Final = "usr/share/hpi/sbom.cdx.json"
PLUGIN: Final = "opt/hpi/environment/hpi-plugin.json"
ENVIRONMENT: Final = "opt/hpi/environment/"
_SITE: Final = re.compile(r"(?P<site>.*/site-packages/)(?P<rest>.+)")
_RECORD: Final = re.compile(r"(?P<name>[^/]+)-(?P<version>[^/-]+)\.dist-info/RECORD")
_CACHED: Final = re.compile(r"(?:(?P<folder>.*)/)?__pycache__/(?P<name>[^/.]+)\.[^/]+\.pyc")


@dataclass(frozen=True)
class Contents:
    """What was found."""

    sizes: Mapping[str, int]
    """Bytes of every package, the largest first; files of no package stand under their folder."""
    size_bytes: int
    """All together, unpacked."""
    plugin: Mapping[str, Any] | None
    """`variant` and `lockDigest`, as the environment says; None: it says nothing."""
    sbom: bytes
    """CycloneDX, JSON."""


def read_contents(files: Iterable[LayerFile]) -> Contents:
    """Return what the files of an image beyond its base are.

    Raises:
        Stop: The list of parts is missing.
    """
    sizes: dict[str, int] = {}
    owners: dict[str, str] = {}
    kept: dict[str, bytes] = {}
    for file in files:
        sizes[file.path] = file.size_bytes
        if file.path in (SBOM, PLUGIN):
            kept[file.path] = file.read()
        elif (match := _SITE.fullmatch(file.path)) and (record := _RECORD.fullmatch(match["rest"])):
            owner = f"{_place(match['site'])}{record['name']} {record['version']}"
            owners |= {match["site"] + row[0]: owner for row in csv.reader(file.read().decode().splitlines()) if row}
    if SBOM not in kept:
        raise Stop(f"the image has no /{SBOM}; the Dockerfile copies it there")
    weighed: Counter[str] = Counter()
    for path, size in sizes.items():
        weighed[owners.get(_source(path)) or owners.get(path) or _folder(path)] += size
    plugin = json.loads(kept[PLUGIN]) if PLUGIN in kept else None
    ordered = dict(sorted(weighed.items(), key=lambda one: (-one[1], one[0])))
    return Contents(ordered, sum(sizes.values()), plugin, kept[SBOM])


def table_of(contents: Contents, rows: int) -> str:
    """Return the heaviest packages for people, in megabytes of 1,000,000 bytes; the rest is one line."""
    shown = list(contents.sizes.items())[:rows]
    rest = contents.size_bytes - sum(size for _, size in shown)
    lines = [*shown, (f"{len(contents.sizes) - len(shown)} others", rest), ("beyond the base", contents.size_bytes)]
    return "\n".join(f"  {size / 1e6:7.1f} MB  {name}" for name, size in lines)


def _place(site: str) -> str:
    return "" if site.startswith(ENVIRONMENT) else "converter: "


def _source(path: str) -> str:
    """Return the module that a compiled file was made of; any other path stays what it is."""
    match = _CACHED.fullmatch(path)
    if match is None:
        return path
    return f"{match['folder']}/{match['name']}.py" if match["folder"] else f"{match['name']}.py"


def _folder(path: str) -> str:
    return "/" + "/".join(path.split("/")[: 3 if path.startswith("opt/") else 1])
