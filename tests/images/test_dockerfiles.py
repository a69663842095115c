"""What the Dockerfiles promise before anything is built."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from hpi_operator.plan.workload.pod import USER
from support.project import ROOT

IMAGES = ROOT / "images"
DOCKERFILES = sorted(IMAGES.glob("*/Dockerfile"))
each_dockerfile = pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.parent.name)


def instructions(path: Path) -> list[tuple[str, str]]:
    """Return the instructions of a Dockerfile in order, as name and rest; continued lines are one."""
    text = re.sub(r"\\\n\s*", " ", path.read_text())
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return [(name, rest) for name, _, rest in (line.partition(" ") for line in lines)]


def last_stage(path: Path) -> list[tuple[str, str]]:
    found = instructions(path)
    return found[max(number for number, (name, _) in enumerate(found) if name == "FROM") :]


def test_there_is_one_dockerfile_for_each_role() -> None:
    assert [path.parent.name for path in DOCKERFILES] == ["agent", "operator"]


@each_dockerfile
def test_every_stage_begins_with_the_base_that_an_argument_names(path: Path) -> None:
    begun = [rest for name, rest in instructions(path) if name == "FROM"]

    assert instructions(path)[0] == ("ARG", "BASE=python:3.11-slim-bookworm")
    assert begun == ["${BASE} AS environment", "${BASE}"]


@each_dockerfile
def test_an_image_runs_as_the_user_of_the_pods(path: Path) -> None:
    users = [rest for name, rest in last_stage(path) if name == "USER"]

    assert users == [f"{USER}:{USER}"]


@each_dockerfile
def test_nothing_is_fetched_by_a_dockerfile_itself(path: Path) -> None:
    found = instructions(path)

    assert [name for name, _ in found if name == "ADD"] == []
    assert [rest for _, rest in found if "://" in rest or re.search(r"\b(curl|wget|apt-get|apk)\b", rest)] == []


@each_dockerfile
def test_the_last_stage_installs_nothing_and_copies_only_what_the_first_has_made(path: Path) -> None:
    copied = [rest for name, rest in last_stage(path) if name == "COPY"]
    ran = [rest for name, rest in last_stage(path) if name == "RUN"]

    assert copied == [
        "--from=environment /opt/hpi /opt/hpi",
        "--from=environment /build/sbom.cdx.json /usr/share/hpi/sbom.cdx.json",
    ]
    assert [rest for rest in ran if "pip" in rest or "context" in rest] == []


@each_dockerfile
def test_no_index_and_no_proxy_reaches_the_last_stage(path: Path) -> None:
    given = {rest.partition("=")[0] for name, rest in last_stage(path) if name in ("ARG", "ENV")}

    assert [name for name in given if "PIP" in name or "PROXY" in name.upper() or name == "WHEELHOUSE"] == []


@each_dockerfile
def test_every_argument_is_described(path: Path) -> None:
    described = (IMAGES / "README.md").read_text()

    arguments = {rest.partition("=")[0] for name, rest in instructions(path) if name == "ARG"}

    assert [name for name in sorted(arguments) if f"`{name}`" not in described] == []


@each_dockerfile
def test_an_image_carries_the_labels_that_registries_show(path: Path) -> None:
    [labels] = [rest for name, rest in last_stage(path) if name == "LABEL"]

    assert re.findall(r"([a-z.-]+)=", labels) == [
        "org.opencontainers.image.title",
        "org.opencontainers.image.description",
        "org.opencontainers.image.licenses",
        "org.opencontainers.image.version",
        "org.opencontainers.image.revision",
        "io.paddlex.hpi.lock-digest",
    ]


def test_a_builder_sees_sources_lists_and_wheels_alone() -> None:
    lines = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if not line.startswith("#")]

    assert lines[0] == "*"
    assert [line for line in lines if line.startswith("!") and not (ROOT / line[1:]).exists()] in (
        [],
        ["!build/images/wheelhouse"],
    )
