"""The list of what an image is made of."""

from __future__ import annotations

from pathlib import Path

import pytest

from stages.sbom import debian_components, document, python_components

STATUS = """Package: libc6
Status: install ok installed
Architecture: amd64
Version: 2.36-9+deb12u10
Description: GNU C Library
 Version: of another line

Package: gone
Status: deinstall ok config-files
Architecture: all
Version: 1.0

Package: tzdata
Status: install ok installed
Architecture: all
Version: 2025b-0+deb12u1
"""


def install(folder: Path, name: str, version: str, *lines: str) -> None:
    """Write the metadata of a package as pip does."""
    info = folder / "lib" / "site-packages" / f"{name}-{version}.dist-info"
    info.mkdir(parents=True)
    text = "\n".join(["Metadata-Version: 2.4", f"Name: {name}", f"Version: {version}", *lines, ""])
    (info / "METADATA").write_text(text)


def test_packages_of_the_base_are_those_that_are_installed() -> None:
    found = list(debian_components(STATUS, "debian"))

    assert [one["purl"] for one in found] == [
        "pkg:deb/debian/libc6@2.36-9%2Bdeb12u10?arch=amd64",
        "pkg:deb/debian/tzdata@2025b-0%2Bdeb12u1?arch=all",
    ]


def test_python_packages_of_every_environment_are_there_once(tmp_path: Path) -> None:
    install(tmp_path / "environment", "Some_Thing", "1.0")
    install(tmp_path / "plugins", "Some_Thing", "1.0")
    install(tmp_path / "plugins", "Some_Thing", "2.0")

    found = list(python_components(tmp_path))

    assert [one["purl"] for one in found] == ["pkg:pypi/some-thing@1.0", "pkg:pypi/some-thing@2.0"]


@pytest.mark.parametrize(
    ("line", "licences"),
    [
        ("License-Expression: Apache-2.0 OR MIT", [{"expression": "Apache-2.0 OR MIT"}]),
        ("Classifier: License :: OSI Approved :: MIT License", [{"license": {"name": "MIT License"}}]),
        ("License: BSD", [{"license": {"name": "BSD"}}]),
        (f"License: {'x' * 100}", [{"license": {"name": "x" * 100}}]),
        (f"License: {'x' * 101}", None),
        ("Summary: nothing of it", None),
    ],
    ids=["expression", "classifier", "name", "longest name", "a whole text", "none"],
)
def test_a_licence_is_told_as_the_package_tells_it(line: str, licences: object, tmp_path: Path) -> None:
    install(tmp_path, "a", "1.0", line)

    [component] = python_components(tmp_path)

    assert component.get("licenses") == licences


def test_the_same_parts_give_the_same_document_and_others_another_number() -> None:
    parts = list(debian_components(STATUS, "debian"))

    one, same, other = document("a", parts), document("a", parts), document("a", parts[:1])

    assert one == same
    assert one["serialNumber"] != other["serialNumber"]
    assert (one["bomFormat"], one["specVersion"], len(one["components"])) == ("CycloneDX", "1.6", 2)
