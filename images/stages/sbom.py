#!/usr/bin/env python3
"""Write what an image is made of, as CycloneDX 1.6: `sbom.py NAME FILE`, inside a build stage.

Packages of the base (dpkg), Python itself, and every package below /opt/hpi. Written by hand, because it runs where
nothing but the standard library is, and because the libraries for it know either dpkg or Python's environments.
"""

from __future__ import annotations

import json
import platform
import re
import sys
import uuid
from collections.abc import Iterator, Sequence
from importlib.metadata import Distribution, distributions
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

PACKAGES: Final = Path("/opt/hpi")
DPKG: Final = Path("/var/lib/dpkg/status")
MAX_LICENCE_CHARACTERS: Final = 100
"""Some packages put the whole text of their licence where its name belongs."""


def python_component(version: str) -> dict[str, Any]:
    """Return the interpreter: in some bases no package of dpkg has it."""
    return {
        "type": "application",
        "bom-ref": f"python@{version}",
        "name": "python",
        "version": version,
        "cpe": f"cpe:2.3:a:python:python:{version}:*:*:*:*:*:*:*",
    }


def debian_components(status: str, distribution: str) -> Iterator[dict[str, Any]]:
    """Yield the installed packages of a base.

    Args:
        status: Text of dpkg's file.
        distribution: Such as `debian`.
    """
    for paragraph in re.split(r"\n{2,}", status.strip()):
        fields = dict(re.findall(r"^([A-Za-z-]+): (.*)$", paragraph, re.MULTILINE))
        if fields.get("Status", "").split()[-1:] != ["installed"]:
            continue
        name, version = fields["Package"], fields["Version"]
        purl = f"pkg:deb/{distribution}/{quote(name)}@{quote(version)}?arch={fields['Architecture']}"
        yield {"type": "library", "bom-ref": purl, "name": name, "version": version, "purl": purl}


def python_components(folder: Path) -> Iterator[dict[str, Any]]:
    """Yield the Python packages of all environments below a folder."""
    found: dict[str, dict[str, Any]] = {}
    for site in sorted(folder.rglob("site-packages")):
        for one in distributions(path=[str(site)]):
            component = python_package(one)
            found.setdefault(component["purl"], component)
    for purl in sorted(found):
        yield found[purl]


def python_package(package: Distribution) -> dict[str, Any]:
    """Return one Python package, by its normalised name (PEP 503)."""
    name = re.sub(r"[-_.]+", "-", package.metadata["Name"]).lower()
    purl = f"pkg:pypi/{quote(name)}@{quote(package.version)}"
    component: dict[str, Any] = {"type": "library", "bom-ref": purl, "name": name, "version": package.version}
    licence = licence_of(package)
    if licence:
        component["licenses"] = [licence]
    return {**component, "purl": purl}


def licence_of(package: Distribution) -> dict[str, Any] | None:
    """Return what a package says of its licence, None where it says nothing usable."""
    metadata = package.metadata.json
    expression = metadata.get("license_expression")
    if expression:
        return {"expression": str(expression)}
    classifiers = [one for one in metadata.get("classifier", []) if one.startswith("License :: ")]
    named = classifiers[0].rpartition(" :: ")[2] if classifiers else str(metadata.get("license", "")).strip()
    return {"license": {"name": named}} if named and len(named) <= MAX_LICENCE_CHARACTERS else None


def document(name: str, components: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return the whole document; the same components give the same document, so it holds no date."""
    seed = json.dumps([name, [one["bom-ref"] for one in components]])
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_OID, seed)}",
        "version": 1,
        "metadata": {"component": {"type": "container", "bom-ref": name, "name": name}},
        "components": list(components),
    }


def main(name: str, output: Path) -> None:
    """Write the document of the stage that this runs in."""
    components = [python_component(platform.python_version())]
    if DPKG.is_file():
        release = platform.freedesktop_os_release()
        components += debian_components(DPKG.read_text(encoding="utf-8"), release["ID"])
    components += python_components(PACKAGES)
    output.write_text(json.dumps(document(name, components), indent=1), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
