"""Put the packages of a locked list into a folder, with a pip that works from a place of its own."""

from __future__ import annotations

import re
from importlib.metadata import distributions
from pathlib import Path
from typing import Final

from hpi_agent.plugins import clean_environment
from hpi_agent.plugins.pip_output import PipReader, failure_of
from hpi_agent.plugins.recipe import Recipe, Say
from hpi_agent.plugins.step import failed_step, is_disk_full, run_step
from hpi_core.errors import Bug

ENVIRONMENT_SECONDS: Final = 300
PIP_SECONDS: Final = 3600


def make_environment(directory: Path, scratch: Path, recipe: Recipe) -> None:
    """Make a virtual environment of the recipe's interpreter, with nothing in it.

    Raises:
        Stop: It cannot be made; the last lines of the program are in the text.
    """
    # -I: neither the current folder nor a personal one may lend a module of the name venv.
    python = str(recipe.interpreter.path)
    command = [python, "-I", "-m", "venv", "--symlinks", "--without-pip", str(directory)]
    _run("making a virtual environment", command, scratch, recipe)


def make_installer(directory: Path, scratch: Path, recipe: Recipe) -> Path:
    """Make a virtual environment with the pip that comes with the recipe's interpreter; return its Python.

    Raises:
        Stop: It cannot be made; the last lines of the program are in the text.
    """
    make_environment(directory, scratch, recipe)
    python = directory / "bin" / "python"
    # venv would do it as well, and keep to itself why it failed.
    _run("unpacking pip", [str(python), "-I", "-m", "ensurepip", "--default-pip"], scratch, recipe)
    return python


def install_packages(pip_python: Path, target: Path, scratch: Path, recipe: Recipe, say: Say) -> None:
    """Put exactly the packages of the recipe's list into a folder.

    Args:
        pip_python: An interpreter that has pip; of the recipe's version, because pip takes the wheels that fit itself.
        target: The folder.
        scratch: Folder for temporary files.
        recipe: What to install, and from where.
        say: Told of every package.

    Raises:
        SourceFailed: A wheel is missing, or is not the one that was locked; pip's words are in the text.
        Stop: The disk is full, or pip takes too long.
    """
    command = [str(pip_python), "-I", "-m", "pip", "--no-color", "install"]
    command += ["--require-hashes", "--no-deps", "--only-binary", ":all:", "--no-compile", "--progress-bar", "off"]
    command += ["--target", str(target)]
    command += [word for path in recipe.locked.paths for word in ("--requirement", str(path))]
    if recipe.wheelhouse is not None:
        command += ["--no-index", "--find-links", str(recipe.wheelhouse)]
    environment = clean_environment.for_pip(recipe.environment, scratch, alone=recipe.wheelhouse is not None)
    read_line = PipReader(len(recipe.locked.versions), say).read_line
    ended = run_step(command, environment=environment, folder=scratch, seconds=PIP_SECONDS, on_line=read_line)
    if ended.timed_out or is_disk_full(ended):
        raise failed_step("installing the packages", ended, PIP_SECONDS, scratch)
    if not ended.passed:
        raise failure_of(ended.lines, recipe.locked, recipe.wheelhouse)
    if (installed := installed_versions(target)) != recipe.locked.versions:
        differing = sorted(installed.items() ^ recipe.locked.versions.items())
        raise Bug(f"pip reported success, but {target} and {recipe.locked.name} differ in {differing}")


def installed_versions(folder: Path) -> dict[str, str]:
    """Return the version of every package in a folder, by normalised name (PEP 503)."""
    found = distributions(path=[str(folder)])
    return {re.sub(r"[-_.]+", "-", one.metadata["Name"]).lower(): one.version for one in found}


def _run(what: str, command: list[str], scratch: Path, recipe: Recipe) -> None:
    environment = clean_environment.for_pip(recipe.environment, scratch, alone=True)
    ended = run_step(command, environment=environment, folder=scratch, seconds=ENVIRONMENT_SECONDS)
    if not ended.passed:
        raise failed_step(what, ended, ENVIRONMENT_SECONDS, scratch)
