"""Setting a checkout up: which Python is taken, what uv is told, when the environment is made anew."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.project import ROOT

CANDIDATES = ("python3.11", "python3.12", "python3.13", "python3", "python")


def load_install(folder: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("configs_locks_install", folder / "install.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


INSTALL = load_install(ROOT / "configs" / "locks")


def a_checkout(root: Path) -> Path:
    """Return the folder `configs/locks` of a small checkout with the real scripts and two short lists."""
    locks = root / "configs" / "locks"
    locks.mkdir(parents=True)
    for script in ("install.py", "find-python.sh"):
        shutil.copy(ROOT / "configs" / "locks" / script, locks)
    for purpose in ("tools", "demo"):
        (locks / f"{purpose}-py{sys.version_info[0]}{sys.version_info[1]}.txt").write_text(f"# {purpose}\n")
    (root / "pyproject.toml").write_text("[project]\n")
    return locks


def commands(folder: Path, **scripts: str) -> Path:
    """Make a folder of commands for PATH: the given scripts, and for every other candidate one that does not run."""
    folder.mkdir()
    for name in CANDIDATES:
        script = scripts.get(name.replace(".", "_"), f"echo 'pyenv: {name}: command not found' >&2; exit 127")
        (folder / name).write_text(f"#!/bin/sh\n{script}\n")
        (folder / name).chmod(0o755)
    return folder


def find_python(locks: Path, path: Path, python: str = "") -> subprocess.CompletedProcess[str]:
    environment = {"PATH": f"{path}:{os.defpath}", "PYTHON": python}
    command = ["sh", str(locks / "find-python.sh")]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


THIS_PYTHON = f'exec "{sys.executable}" "$@"'


def test_a_command_that_does_not_run_is_passed_over(tmp_path: Path) -> None:
    locks = a_checkout(tmp_path / "checkout")

    found = find_python(locks, commands(tmp_path / "bin", python3=THIS_PYTHON))

    assert found.stdout.strip() == os.path.realpath(sys.executable)


def test_the_environment_made_before_keeps_its_python(tmp_path: Path) -> None:
    locks = a_checkout(tmp_path / "checkout")
    kept = tmp_path / "checkout" / ".venv" / "bin" / "python"
    kept.parent.mkdir(parents=True)
    kept.write_text(f"#!/bin/sh\n{THIS_PYTHON}\n")
    kept.chmod(0o755)

    found = find_python(locks, commands(tmp_path / "bin"))

    assert found.stdout.strip() == os.path.realpath(sys.executable)


def test_without_a_usable_python_it_says_what_was_tried_and_what_is_needed(tmp_path: Path) -> None:
    locks = a_checkout(tmp_path / "checkout")

    found = find_python(locks, commands(tmp_path / "bin", python3='echo "is CPython 3.9.2"; exit 1'))

    assert (found.returncode, found.stdout) == (1, "")
    assert "CPython 3.11, 3.12 or 3.13" in found.stderr
    assert "python3: is CPython 3.9.2" in found.stderr
    assert "python3.12: pyenv: python3.12: command not found" in found.stderr


def test_a_named_python_is_the_only_candidate(tmp_path: Path) -> None:
    locks = a_checkout(tmp_path / "checkout")

    found = find_python(locks, commands(tmp_path / "bin", python3=THIS_PYTHON), python="python3.13")

    assert found.returncode == 1
    assert "python3.13: pyenv: python3.13: command not found" in found.stderr


def test_settings_of_pip_are_read_from_its_own_listing(tmp_path: Path) -> None:
    file = tmp_path / "pip.conf"
    file.write_text(
        "[global]\nindex-url = https://one.example/simple\ncert = /etc/ca.pem\n"
        "[install]\nextra-index-url =\n    https://two.example/simple\n    https://three.example/simple\n"
    )
    environment = {**os.environ, "PIP_CONFIG_FILE": str(file), "PIP_INDEX_URL": "https://four.example/simple"}
    command = [sys.executable, "-m", "pip", "config", "list"]

    listing = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout

    settings = INSTALL.read_pip_configuration(listing)
    assert settings["index-url"] == "https://four.example/simple"
    assert settings["extra-index-url"].split() == ["https://two.example/simple", "https://three.example/simple"]


def test_what_pip_is_told_is_handed_on_to_uv(tmp_path: Path) -> None:
    told = {
        "index-url": "https://one.example/simple",
        "extra-index-url": "\nhttps://two.example/simple\nhttps://three.example/simple",
        "cert": "/etc/ca.pem",
        "find-links": f"{tmp_path} {tmp_path}/not-there https://four.example/wheels",
        "proxy": "http://proxy.example:3128",
    }

    variables = INSTALL.uv_variables(told, {})

    assert variables == {
        "UV_DEFAULT_INDEX": "https://one.example/simple",
        "UV_INDEX": "https://two.example/simple https://three.example/simple",
        "SSL_CERT_FILE": "/etc/ca.pem",
        "UV_FIND_LINKS": f"{tmp_path},https://four.example/wheels",
        "ALL_PROXY": "http://proxy.example:3128",
    }


@given(name=st.sampled_from(sorted(INSTALL.UV_NAMES)), value=st.text(min_size=1))
def test_what_uv_is_told_already_stays(name: str, value: str) -> None:
    own = dict.fromkeys(INSTALL.UV_NAMES[name], "mine")

    variables = INSTALL.uv_variables({name: value}, own)

    assert variables == {}


def test_an_environment_with_every_list_unchanged_is_kept(tmp_path: Path) -> None:
    install = load_install(a_checkout(tmp_path))
    stamp = install.wanted_stamp(["tools"])

    reusable = install.is_reusable(stamp, install.wanted_stamp(["tools", "demo"]))

    assert reusable


def test_an_environment_whose_list_changed_is_made_anew(tmp_path: Path) -> None:
    locks = a_checkout(tmp_path)
    install = load_install(locks)
    stamp = install.wanted_stamp(["tools", "demo"])

    next(locks.glob("demo-*.txt")).write_text("# other\n")

    assert not install.is_reusable(stamp, install.wanted_stamp(["tools"]))


def test_an_environment_of_a_moved_checkout_is_made_anew(tmp_path: Path) -> None:
    install = load_install(a_checkout(tmp_path))
    stamp = {**install.wanted_stamp(["tools"]), "root": "/elsewhere"}

    assert not install.is_reusable(stamp, install.wanted_stamp(["tools"]))


@pytest.mark.parametrize("written", ["", "{", None], ids=["empty", "half", "absent"])
def test_without_a_whole_stamp_there_is_no_environment(tmp_path: Path, written: str | None) -> None:
    install = load_install(a_checkout(tmp_path))
    install.PYTHON.parent.mkdir(parents=True)
    install.PYTHON.touch()

    if written is not None:
        install.STAMP.write_text(written)

    assert install.read_stamp() is None
