"""Where Python files may lie, and what they may not be called."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from support.project import ROOT, pyproject

ROOMS = ("agent", "crds", "operator")
"""Folders of the root whose Python lies in `src` alone. A package in ./operator would hide the stdlib's `operator`."""

VAGUE = ("utils", "util", "helpers", "helper", "common", "manager", "misc")


def python_files() -> list[Path]:
    return [path for room in (*ROOMS, "configs", "tests") for path in (ROOT / room).rglob("*.py")]


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_holds_python_only_under_its_src(room: str) -> None:
    relative = [path.relative_to(ROOT / room) for path in (ROOT / room).rglob("*.py")]

    loose = [str(path) for path in relative if path.parts[0] != "src" or len(path.parts) < 3]

    assert loose == []


def test_the_tests_are_no_package() -> None:
    found = [str(path.relative_to(ROOT)) for path in (ROOT / "tests").rglob("__init__.py")]

    assert found == []


@pytest.mark.parametrize("module", ["operator", "functools"])
def test_the_stdlib_wins_when_python_starts_in_the_root(module: str) -> None:
    # -S leaves site-packages out: a .pth file there may have imported the real module before and hide the fault.
    code = f"import {module}; print({module}.__file__)"
    done = subprocess.run([sys.executable, "-S", "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
    assert ROOT not in Path(done.stdout.strip()).parents


def test_no_file_or_folder_has_a_name_that_says_nothing() -> None:
    vague = [path for path in python_files() if {path.stem, *path.relative_to(ROOT).parts} & set(VAGUE)]

    assert vague == []


def test_both_packages_of_a_node_are_checked_against_python_3_10() -> None:
    tool = pyproject()["tool"]

    targets = (tool["ruff"]["target-version"], tool["mypy"]["python_version"])

    assert targets == ("py310", "3.10")
    assert pyproject()["project"]["requires-python"] == ">=3.10"


def test_the_licence_is_the_standard_text() -> None:
    text = (ROOT / "LICENSE").read_text()

    assert text.split()[:5] == ["Apache", "License", "Version", "2.0,", "January"]
    assert pyproject()["project"]["license"] == "Apache-2.0"
