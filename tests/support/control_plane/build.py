"""Build the programs of a recipe into the cache: about 11 minutes on two cores, once per machine."""

from __future__ import annotations

import platform
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from hpi_core.errors import Stop
from support.control_plane.cache import Folder, Say, cache_root
from support.control_plane.go import Go, choose_go
from support.control_plane.process import Process, describe_exit
from support.control_plane.recipe import Recipe

PROGRESS_SECONDS: Final = 15.0
"""How often a compilation that goes on is told of."""
LAST_LINES: Final = 40
VARIABLES: Final = {
    "GOFLAGS": "-mod=readonly",
    "GOWORK": "off",
    "GOTOOLCHAIN": "local",
    "GOOS": "linux",
    "CGO_ENABLED": "0",
}
"""What is compiled comes out of go.mod and go.sum alone, whatever is set for other work on this machine."""
ARCHITECTURES: Final = {"x86_64": "amd64", "aarch64": "arm64"}
"""Go's names of machines."""


def folder_of(recipe: Recipe, environment: Mapping[str, str]) -> Folder:
    """Return the place in the cache of what a recipe makes."""
    return Folder(cache_root(environment), recipe.folder_name(), recipe.document(), tuple(recipe.packages))


def build(recipe: Recipe, environment: Mapping[str, str], say: Say) -> Folder:
    """Return the folder with a recipe's programs, built unless they are there. Of two calls at once, one builds.

    Raises:
        Stop: There is no Go that fits, a module is not to be had, its checksum differs, or it does not compile.
    """
    folder = folder_of(recipe, environment)
    if folder.problem() is None:
        return folder
    with folder.locked(say):
        problem = folder.problem()
        if problem is not None:
            say(f"{problem}; building {recipe.name} {recipe.version}, which takes some minutes")
            go = choose_go(recipe.oldest_go, environment, say)
            folder.publish(lambda aside: compile_all(recipe, go, aside, environment, say))
    return folder


def compile_all(recipe: Recipe, go: Go, folder: Path, environment: Mapping[str, str], say: Say) -> dict[str, Any]:
    """Compile every program of a recipe into a folder; return what the manifest says of the build."""
    variables = {**environment, **VARIABLES, "GOARCH": ARCHITECTURES.get(platform.machine(), platform.machine())}
    # Go's temporary files go the way of the folder, even when this is killed.
    variables["GOTMPDIR"] = str(folder)
    seconds: dict[str, float] = {}
    say(f"with {go.version} ({go.path})")
    for number, (program, package) in enumerate(recipe.packages.items(), 1):
        what = f"{number} of {len(recipe.packages)}, {program}"
        command = [*politely(), str(go.path), "build", *recipe.flags, "-o", str(folder / program), package]
        log = folder / f"{program}.log"
        compiler = Process(what, command, directory=recipe.module, log=log, environment=variables)
        seconds[program] = round(_finish(compiler, say), 1)
        log.unlink()
    say(f"all of it: {sum(seconds.values()):.0f} s")
    return {"go": go.version, "seconds": seconds}


def politely() -> list[str]:
    """Return the words before a command that leave the processors to whoever else wants them."""
    nice = shutil.which("nice")
    return [] if nice is None else [nice, "-n", "10"]


def _finish(compiler: Process, say: Say) -> float:
    started = time.monotonic()
    say(f"{compiler.name}: downloading and compiling")
    try:
        while (code := compiler.wait(PROGRESS_SECONDS)) is None:
            say(f"{compiler.name}: {time.monotonic() - started:.0f} s so far")
        if code != 0:
            raise Stop(
                f"building {compiler.name} failed ({describe_exit(code)}); nothing was published:\n"
                f"{compiler.last_lines(LAST_LINES)}"
            )
    finally:
        compiler.stop()
    taken = time.monotonic() - started
    say(f"{compiler.name}: {taken:.0f} s")
    return taken
