"""Make the tree of an environment: interpreter links, the locked packages, compiled modules, and nothing else.

The tree can be moved, and read from a volume that cannot be written:

* it is used as `<tree>/bin/python` alone, so scripts with the path of another place in their first line are removed;
* modules are compiled once, marked as never to be compared with their sources (PEP 552, unchecked): importing Paddle
  takes a third of the time, and Python writes nothing into the tree later;
* there is no pip in it. pip works from a second environment beside it, that is thrown away.
"""

from __future__ import annotations

import json
import secrets
import shutil
from pathlib import Path
from typing import Final

from hpi_agent.plugins import clean_environment
from hpi_agent.plugins.environment import PLUGIN_FILE
from hpi_agent.plugins.interpreters import Interpreter
from hpi_agent.plugins.packages import install_packages, make_environment, make_installer
from hpi_agent.plugins.recipe import Recipe, Say
from hpi_agent.plugins.self_test import run_self_test
from hpi_agent.plugins.step import failed_step, is_disk_full, run_step

COMPILE_SECONDS: Final = 1200
KEPT: Final = ("bin", "include", "lib", "lib64", "pyvenv.cfg", PLUGIN_FILE)
"""What a finished tree holds at its top."""
MAX_COMPILERS: Final = 8
SCRIPTS: Final = ("bin/", "../../bin/")
"""How rows of a RECORD begin that name a script."""


def make_tree(directory: Path, recipe: Recipe, say: Say) -> None:
    """Fill an empty directory with a tested environment.

    Raises:
        SourceFailed: A wheel is missing, or is not the one that was locked.
        Stop: The disk is full, a step fails or takes too long, or the self-test fails.
    """
    # A name that nobody else has: what a process that was cut off still writes lands beside it, never in it.
    scratch = directory / f".making-{secrets.token_hex(4)}"
    scratch.mkdir()
    say("environment", {"python": str(recipe.interpreter.path)})
    make_environment(directory, scratch, recipe)
    pip_python = make_installer(scratch / "installer", scratch, recipe)
    target = site_packages(directory, recipe.interpreter)
    install_packages(pip_python, target, scratch, recipe, say)
    _remove_traces(directory, target)
    identity = {"variant": recipe.variant.name, "lockDigest": recipe.locked.digest}
    (directory / PLUGIN_FILE).write_text(json.dumps(identity), encoding="utf-8")
    say("compiling", {})
    _compile(directory, target, scratch, recipe)
    say("testing", {"limitSeconds": recipe.variant.self_test_seconds})
    say("tested", {"report": run_self_test(directory, scratch, recipe)})
    for path in directory.iterdir():
        if path.name not in KEPT:
            shutil.rmtree(path)


def site_packages(directory: Path, interpreter: Interpreter) -> Path:
    """Return the folder of a tree that holds its packages."""
    return directory / "lib" / f"python{interpreter.feature_version}" / "site-packages"


def _remove_traces(directory: Path, target: Path) -> None:
    """Remove what names the place where the tree is made: scripts, and a line of the settings."""
    for path in (directory / "bin").iterdir():
        if not path.name.startswith("python"):
            path.unlink()
    shutil.rmtree(target / "bin", ignore_errors=True)
    # Their hashes tell of that place as well: the same wheels would give another tree each time.
    for record in target.glob("*.dist-info/RECORD"):
        rows = record.read_text(encoding="utf-8").splitlines()
        record.write_text("".join(f"{row}\n" for row in rows if not row.startswith(SCRIPTS)), encoding="utf-8")
    settings = directory / "pyvenv.cfg"
    lines = settings.read_text(encoding="utf-8").splitlines()
    # Python 3.11 and later note the command that made the environment.
    settings.write_text("".join(f"{line}\n" for line in lines if not line.startswith("command")), encoding="utf-8")


def _compile(directory: Path, target: Path, scratch: Path, recipe: Recipe) -> None:
    # Packages bring templates and sources for other Pythons that do not compile and are never imported, so neither the
    # lines (-qq) nor the exit code 1 matter.
    # -B: what a .pth file imports as the compiler starts would be compiled by Python itself, dated, and be left alone.
    command = [str(directory / "bin" / "python"), "-I", "-B", "-m", "compileall", "-qq", "-s", str(directory)]
    command += ["-j", str(min(recipe.processors, MAX_COMPILERS)), "--invalidation-mode", "unchecked-hash", str(target)]
    environment = clean_environment.for_self_test(recipe.environment, scratch)
    ended = run_step(command, environment=environment, folder=scratch, seconds=COMPILE_SECONDS)
    if ended.timed_out or ended.exit_code not in (0, 1) or is_disk_full(ended):
        raise failed_step("compiling the modules", ended, COMPILE_SECONDS, scratch)
