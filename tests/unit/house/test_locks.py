"""The lists of configs/locks: complete, hashed, free of addresses, in agreement with one another and pyproject.toml."""

from __future__ import annotations

import importlib.metadata
import re
from dataclasses import dataclass
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from support.project import ROOT, pyproject

LOCKS = ROOT / "configs" / "locks"
LISTS = sorted(LOCKS.glob("*.txt"))
PYTHONS = ("3.11", "3.12", "3.13")
PARTS = ("agent", "hpi-cpu", "pipelines", "ocr")
"""What images are made of (configs/plugins/variants.yml)."""
NAMES = {
    f"{purpose}-py{python.replace('.', '')}.txt"
    for purpose in ("tools", "agent-cpu", "demo", "operator", "test", *PARTS)
    for python in PYTHONS
}
APART = {f"paddle2onnx-py{python}.txt" for python in ("310", "311", "312")}
"""Lists that are installed alone, in an environment of their own."""
HASH = re.compile(r"--hash=sha256:[0-9a-f]{64}")


@dataclass(frozen=True)
class Line:
    """One package of a list."""

    name: str
    version: Version
    hashes: tuple[str, ...]


def lines_of(path: Path) -> list[Line]:
    """Return the packages of a list; every line must be a comment, the one option, or `name==version` and hashes."""
    text = path.read_text().replace("\\\n", " ")
    lines = []
    for written in text.splitlines():
        if written.startswith("#") or written == "--only-binary :all:":
            continue
        pin, *hashes = written.split()
        assert all(HASH.fullmatch(word) for word in hashes), written
        name, version = pin.split("==")
        lines.append(Line(name, Version(version), tuple(hashes)))
    return lines


def together(python: str) -> list[Path]:
    """Return the lists of one Python that may be installed into one environment."""
    return sorted(path for path in LOCKS.glob(f"*-py{python.replace('.', '')}.txt") if path.name not in APART)


def versions_of(*names: str) -> dict[str, Version]:
    return {line.name: line.version for name in names for line in lines_of(LOCKS / name)}


def test_there_is_a_list_for_every_purpose_and_python() -> None:
    found = {path.name for path in LISTS}

    assert found == NAMES | {"agent-cpu-py310.txt"} | APART


@pytest.mark.parametrize("path", LISTS, ids=lambda path: path.stem)
def test_every_package_is_pinned_once_and_has_hashes(path: Path) -> None:
    lines = lines_of(path)

    assert lines
    assert all(line.hashes for line in lines)
    names = [line.name for line in lines]
    assert names == sorted(set(names))
    assert names == [canonicalize_name(name) for name in names]


@pytest.mark.parametrize("path", LISTS, ids=lambda path: path.stem)
def test_a_list_names_no_address_and_no_place(path: Path) -> None:
    text = path.read_text()

    assert [word for word in ("://", "index-url", "find-links", "file:", "@ ", "-e ") if word in text] == []


@pytest.mark.parametrize("path", LISTS, ids=lambda path: path.stem)
def test_a_list_takes_wheels_only(path: Path) -> None:
    lines = path.read_text().splitlines()

    assert "--only-binary :all:" in lines


@pytest.mark.parametrize("python", PYTHONS)
def test_lists_of_one_python_agree_on_every_version_they_share(python: str) -> None:
    seen: dict[str, set[Version]] = {}
    for path in together(python):
        for line in lines_of(path):
            seen.setdefault(line.name, set()).add(line.version)

    assert {name: versions for name, versions in seen.items() if len(versions) > 1} == {}


@pytest.mark.parametrize("python", ["3.10", *PYTHONS])
def test_the_only_opencv_of_a_python_is_the_headless_one_of_the_agent(python: str) -> None:
    lists = [path.name for path in LOCKS.glob(f"*-py{python.replace('.', '')}.txt")]

    found = [(name, line.name) for name in lists for line in lines_of(LOCKS / name) if "opencv" in line.name]

    ending, name = f"-py{python.replace('.', '')}.txt", "opencv-contrib-python-headless"
    parts = [] if python == "3.10" else [(f"pipelines{ending}", name)]
    assert sorted(found) == [(f"agent-cpu{ending}", name), *parts]


@pytest.mark.parametrize("python", ["3.10", *PYTHONS])
def test_the_headless_opencv_has_the_version_that_paddlex_pins(python: str) -> None:
    wishes = [Requirement(text) for text in importlib.metadata.requires("paddlex") or []]
    [pinned] = {str(wish.specifier) for wish in wishes if wish.name == "opencv-contrib-python"}

    locked = versions_of(f"agent-cpu-py{python.replace('.', '')}.txt")

    assert f"=={locked['opencv-contrib-python-headless']}" == pinned


def wishes_of_an_agent() -> list[str]:
    project = pyproject()["project"]
    extras = project["optional-dependencies"]
    return [*project["dependencies"], *extras["agent"], *extras["cpu"], *extras["pipelines"]]


def unmet(wishes: list[str], locked: dict[str, Version], python: str) -> list[str]:
    """Return the requirements that hold on Linux with that Python and that the locked versions do not meet."""
    environment = {"python_version": python, "python_full_version": f"{python}.0", "sys_platform": "linux"}
    parsed = [Requirement(wish) for wish in wishes]
    return [
        str(wish)
        for wish in parsed
        if wish.marker is None or wish.marker.evaluate(environment)
        if (name := canonicalize_name(wish.name)) not in locked or locked[name] not in wish.specifier
    ]


@pytest.mark.parametrize("python", ["3.10", *PYTHONS])
def test_the_agent_list_meets_what_pyproject_asks_of_an_agent(python: str) -> None:
    locked = versions_of(f"agent-cpu-py{python.replace('.', '')}.txt")

    assert unmet(wishes_of_an_agent(), locked, python) == []


@pytest.mark.parametrize("python", PYTHONS)
def test_all_lists_together_meet_everything_pyproject_asks_for(python: str) -> None:
    tables = pyproject()
    groups = [wishes for name, wishes in tables["dependency-groups"].items() if name != "paddle2onnx"]
    extras = tables["project"]["optional-dependencies"].values()

    locked = versions_of(*(path.name for path in together(python)))

    assert unmet([wish for wishes in (*groups, *extras) for wish in wishes], locked, python) == []


def test_a_requirement_that_no_list_meets_is_noticed() -> None:
    locked = {"numpy": Version("2.3.5")}

    assert unmet(["numpy>=2.4", "scipy", "numpy<2.4"], locked, "3.11") == ["numpy>=2.4", "scipy"]


@pytest.mark.parametrize("python", PYTHONS)
@pytest.mark.parametrize(("purpose", "below"), [("demo", ["agent-cpu"]), ("test", ["agent-cpu", "demo", "operator"])])
def test_a_list_repeats_nothing_of_the_lists_below_it(python: str, purpose: str, below: list[str]) -> None:
    ending = f"-py{python.replace('.', '')}.txt"

    shared = versions_of(purpose + ending).keys() & versions_of(*(name + ending for name in below)).keys()

    assert shared == set()


@pytest.mark.parametrize("python", PYTHONS)
def test_the_parts_of_a_runtime_share_nothing_and_hold_what_the_agents_list_holds_and_the_models(python: str) -> None:
    ending = f"-py{python.replace('.', '')}.txt"
    parts = [versions_of(part + ending) for part in PARTS]

    together = {name: version for part in parts for name, version in part.items()}

    assert sum(len(part) for part in parts) == len(together)
    models = versions_of(f"demo{ending}")["rapidocr"]
    assert together == {**versions_of(f"agent-cpu{ending}"), "rapidocr": models}


@pytest.mark.parametrize("python", ["3.10", "3.11", "3.12"])
def test_the_conversion_list_meets_what_pyproject_asks_of_it(python: str) -> None:
    locked = versions_of(f"paddle2onnx-py{python.replace('.', '')}.txt")

    assert unmet(pyproject()["dependency-groups"]["paddle2onnx"], locked, python) == []


@pytest.mark.parametrize("python", ["3.10", "3.11", "3.12"])
def test_a_conversion_is_checked_with_the_onnx_runtime_and_the_numpy_of_the_agent(python: str) -> None:
    ending = f"-py{python.replace('.', '')}.txt"

    converting, serving = versions_of(f"paddle2onnx{ending}"), versions_of(f"agent-cpu{ending}")

    shared = converting.keys() & serving.keys()
    assert {"numpy", "onnxruntime", "protobuf"} <= shared
    assert {name for name in shared if converting[name] != serving[name]} <= {"setuptools"}


@pytest.mark.parametrize("python", ["3.10", "3.11", "3.12"])
def test_the_conversion_list_holds_what_the_converter_would_fetch_by_itself(python: str) -> None:
    locked = versions_of(f"paddle2onnx-py{python.replace('.', '')}.txt")

    assert {"onnx-graphsurgeon", "onnxruntime", "sympy"} <= locked.keys()
    assert locked["setuptools"] < Version("81")
