"""Modules of ours in another environment: it sees our two packages and its own, and nothing else."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import venv
from pathlib import Path
from typing import Any

import pytest

import hpi_agent
import hpi_core
from hpi_agent.processes.interpreter import command_for

PROBE = """
import importlib.util, json, sys
import hpi_agent, hpi_core.errors
found = [name for name in ('numpy', 'pydantic', 'pytest', 'support') if importlib.util.find_spec(name)]
ours = [hpi_agent.__file__, hpi_core.__file__]
print(json.dumps({'argv': sys.argv, 'found': found, 'ours': ours, 'path': sys.path, 'name': __name__}))
"""


@pytest.fixture(scope="module")
def bare_python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the Python of a new environment that holds nothing but the module `probe`."""
    root = tmp_path_factory.mktemp("environment")
    venv.EnvBuilder(with_pip=False, symlinks=True).create(root)
    [packages] = root.glob("lib/python3*/site-packages")
    (packages / "probe.py").write_text(PROBE)
    return root / "bin" / "python"


def run(command: list[str], **environment: str) -> Any:
    done = subprocess.run(
        command, env={**os.environ, **environment}, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_without_another_interpreter_this_one_runs_the_module() -> None:
    assert command_for("hpi_agent.x", "a", "b") == [sys.executable, "-m", "hpi_agent.x", "a", "b"]


def test_another_interpreter_sees_our_packages_from_where_they_lie(bare_python: Path) -> None:
    seen = run(command_for("probe", "a", "b c", interpreter=bare_python))

    assert seen["ours"] == [hpi_agent.__file__, hpi_core.__file__]
    assert (seen["name"], seen["argv"][1:]) == ("__main__", ["a", "b c"])


def test_another_interpreter_sees_nothing_else_of_this_environment(bare_python: Path) -> None:
    tests = str(Path(__file__).parents[4])

    seen = run(command_for("probe", interpreter=bare_python), PYTHONPATH=tests, PYTHONUSERBASE=tests)

    assert seen["found"] == []
    assert not any(path.startswith((tests, str(Path(hpi_agent.__file__).parents[1]))) for path in seen["path"])


@pytest.mark.parametrize("module", ["hpi_core.errors", "hpi_core.formats", "hpi_core.digest"])
def test_what_children_import_of_the_core_needs_the_standard_library_alone(bare_python: Path, module: str) -> None:
    done = subprocess.run(command_for(module, interpreter=bare_python), capture_output=True, text=True, check=False)

    assert (done.returncode, done.stderr) == (0, "")


def test_a_module_that_does_not_exist_ends_with_its_name(bare_python: Path) -> None:
    command = command_for("hpi_agent.nothing", interpreter=bare_python)

    done = subprocess.run(command, capture_output=True, text=True, check=False)

    assert done.returncode == 1
    assert "No module named hpi_agent.nothing" in done.stderr
