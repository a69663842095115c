"""Which Python an installation takes: every candidate is run and describes itself."""

from __future__ import annotations

import os
import platform
import sys
from pathlib import Path

import pytest

from hpi_agent.plugins.install import Wish, choose_interpreter
from hpi_agent.plugins.interpreters import MAX_PROBES, Interpreter, candidates, probe
from hpi_agent.plugins.variants import find_variant
from hpi_core.errors import Refused
from support.wheelhouse import PYTHON, a_configs_folder

OWN = Path(os.path.realpath(getattr(sys, "_base_executable", sys.executable)))


def a_program(path: Path, script: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


def a_wish(tmp_path: Path, *, pythons: tuple[str, ...] = (PYTHON,), python: Path | None = None) -> Wish:
    configs = a_configs_folder(tmp_path / "configs", "tinyone==1.0\n", pythons=pythons)
    return Wish("tiny", configs, {"PATH": str(tmp_path / "bin")}, python=python)


def test_a_python_describes_itself() -> None:
    found = probe(sys.executable, os.environ)

    assert isinstance(found, Interpreter)
    assert (found.path, found.version) == (OWN, platform.python_version())
    assert (found.feature_version, found.implementation, found.bits, found.lacks) == (PYTHON, "CPython", 64, None)


def test_the_python_of_a_virtual_environment_stands_for_the_one_it_was_made_with(tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "python").symlink_to(OWN)
    (tmp_path / "pyvenv.cfg").write_text(f"home = {OWN.parent}\n")

    found = probe(tmp_path / "bin" / "python", {})

    assert isinstance(found, Interpreter)
    assert found.path == OWN


def test_variables_that_change_python_do_not_reach_a_candidate(tmp_path: Path) -> None:
    (tmp_path / "json.py").write_text("raise SystemExit('the wrong module')")

    found = probe(sys.executable, {"PYTHONPATH": str(tmp_path), "PYTHONHOME": "/nowhere"})

    assert isinstance(found, Interpreter)


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("echo 'pyenv: python3.12: command not found' >&2; exit 127", "pyenv: python3.12: command not found"),
        ("echo hello", "is no Python that works: hello"),
        ("echo '{}'", "is no Python that works"),
        ("echo '[1]'", "is no Python that works"),
        ("exit 0", "it said nothing"),
    ],
)
def test_a_program_that_is_no_working_python_is_told_apart(script: str, said: str, tmp_path: Path) -> None:
    found = probe(a_program(tmp_path / "python3.12", script), {})

    assert isinstance(found, str)
    assert said in found


def test_a_path_that_cannot_be_run_says_why(tmp_path: Path) -> None:
    assert probe(tmp_path / "python3.12", {}) == "cannot be run: No such file or directory"


def test_candidates_are_this_python_and_then_those_on_path_in_the_order_of_versions(tmp_path: Path) -> None:
    for name in ("python3.11", "python3.12", "python3"):
        a_program(tmp_path / name, "exit 1")

    found = list(candidates(["3.12", "3.11"], {"PATH": f"{tmp_path}{os.pathsep}{tmp_path}"}))

    assert [path.name for path in found[1:]] == ["python3.12", "python3.11", "python3"]
    assert os.path.realpath(found[0]) == str(OWN)


def test_the_number_of_candidates_is_bounded(tmp_path: Path) -> None:
    folders = [tmp_path / str(number) for number in range(MAX_PROBES + 1)]
    for folder in folders:
        a_program(folder / "python3.12", "exit 1")

    found = list(candidates(["3.12"], {"PATH": os.pathsep.join(map(str, folders))}))

    assert len(found) == MAX_PROBES


def test_this_program_s_own_python_is_taken_where_it_fits(tmp_path: Path) -> None:
    wish = a_wish(tmp_path)

    chosen = choose_interpreter(find_variant("tiny", wish.configs), wish)

    assert chosen.path == OWN


def test_where_none_fits_the_refusal_says_what_was_found_what_is_allowed_and_what_to_do(tmp_path: Path) -> None:
    wish = a_wish(tmp_path, pythons=("3.99",))
    broken = a_program(tmp_path / "bin" / "python3.99", "echo 'command not found' >&2; exit 127")

    with pytest.raises(Refused) as refusal:
        choose_interpreter(find_variant("tiny", wish.configs), wish)

    text = str(refusal.value)
    assert text.startswith("tiny needs CPython 3.99, 64 bit")
    assert f"is CPython {platform.python_version()}\n" in text
    assert f"  {broken}: is no Python that works: command not found\n" in text
    assert text.endswith("or name one with --python PATH")


def test_a_python_that_was_named_is_the_only_candidate(tmp_path: Path) -> None:
    named = a_program(tmp_path / "python", "exit 1")
    wish = a_wish(tmp_path, python=named)

    with pytest.raises(Refused) as refusal:
        choose_interpreter(find_variant("tiny", wish.configs), wish)

    assert str(OWN) not in str(refusal.value)
    assert f"  {named}: " in str(refusal.value)
