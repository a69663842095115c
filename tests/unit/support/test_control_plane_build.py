"""Building the tests' programs: what is there is complete, whatever happens to the builder."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from hpi_core.errors import Bug, Stop
from support.children import lives, wait_for
from support.control_plane.build import build, folder_of
from support.control_plane.go import NEWEST_GO, problem_with
from support.control_plane.recipe import Recipe

GO_SCRIPT = """#!/bin/sh
# Says which version it is, or writes a small program where `-o` says, after its package.
if [ "$1" = env ]; then echo "{version}"; exit; fi
while [ "$1" != -o ]; do shift; done
echo "$$ $3 $GOFLAGS $GOTOOLCHAIN" >> '{folder}/built'
{before}
printf '#!/bin/sh\\n' > "$2"
chmod +x "$2"
"""
BUILDER = """
import os, sys
from pathlib import Path
from support.control_plane.build import build
from support.control_plane.recipe import Recipe
packages = {"alpha": "example.com/alpha", "beta": "example.com/beta"}
build(Recipe("small", Path(sys.argv[1]), packages, "example.com/small"), os.environ, print)
"""


def a_recipe(tmp_path: Path) -> Recipe:
    module = tmp_path / "module"
    module.mkdir(exist_ok=True)
    text = "module example.com/tests\n\ngo 1.24.0\n\nrequire (\n\texample.com/small v1.2.3 // indirect\n)\n"
    (module / "go.mod").write_text(text, encoding="utf-8")
    (module / "go.sum").write_text("", encoding="utf-8")
    packages = {"alpha": "example.com/alpha", "beta": "example.com/beta"}
    return Recipe("small", module, packages, "example.com/small")


def an_environment(tmp_path: Path, before: str = "", version: str = "go1.26.1") -> dict[str, str]:
    """Return variables under which a script stands in for Go.

    Args:
        tmp_path: Takes the script, its notes and the cache.
        before: What the script does before it writes a program.
        version: What it says of itself.
    """
    commands = tmp_path / "bin"
    commands.mkdir(exist_ok=True)
    script = GO_SCRIPT.format(version=version, folder=tmp_path, before=before)
    (commands / "go").write_text(script, encoding="utf-8")
    (commands / "go").chmod(0o755)
    return {"PATH": f"{commands}:{os.defpath}", "XDG_CACHE_HOME": str(tmp_path / "cache"), "HOME": str(tmp_path)}


def built(tmp_path: Path) -> list[list[str]]:
    """Return what the script was called for: its number, the package and the variables it saw."""
    notes = tmp_path / "built"
    return [line.split() for line in notes.read_text(encoding="utf-8").splitlines()] if notes.exists() else []


def silent(_: str) -> None:
    """Say nothing."""


def test_a_build_publishes_every_program_with_a_manifest_and_nothing_else(tmp_path: Path) -> None:
    lines: list[str] = []

    folder = build(a_recipe(tmp_path), an_environment(tmp_path), lines.append)

    assert folder.problem() is None
    assert sorted(path.name for path in folder.path.iterdir()) == ["alpha", "beta", "manifest.json"]
    assert sorted(path.name for path in folder.root.iterdir()) == [folder.name, f"{folder.name}.lock"]
    assert any(line.startswith("2 of 2, beta: ") for line in lines)


def test_a_second_build_takes_what_is_there(tmp_path: Path) -> None:
    for _ in range(2):
        build(a_recipe(tmp_path), an_environment(tmp_path), silent)

    assert [call[1] for call in built(tmp_path)] == ["example.com/alpha", "example.com/beta"]


def test_go_may_neither_change_go_mod_nor_fetch_a_toolchain(tmp_path: Path) -> None:
    environment = {**an_environment(tmp_path), "GOFLAGS": "-mod=mod", "GOTOOLCHAIN": "auto"}

    build(a_recipe(tmp_path), environment, silent)

    assert [call[2:] for call in built(tmp_path)] == [["-mod=readonly", "local"]] * 2


@pytest.mark.parametrize("file", ["go.mod", "go.sum"])
def test_a_change_of_go_mod_or_go_sum_is_another_folder(tmp_path: Path, file: str) -> None:
    recipe = a_recipe(tmp_path)
    before = folder_of(recipe, an_environment(tmp_path))

    with (recipe.module / file).open("a", encoding="utf-8") as stream:
        stream.write("// a change\n")

    assert folder_of(recipe, an_environment(tmp_path)).name != before.name


def test_the_version_is_that_of_go_mod(tmp_path: Path) -> None:
    recipe = a_recipe(tmp_path)

    assert (recipe.version, recipe.oldest_go) == ("v1.2.3", (1, 24, 0))


def test_a_go_mod_without_the_module_is_our_own_fault(tmp_path: Path) -> None:
    recipe = a_recipe(tmp_path)
    (recipe.module / "go.mod").write_text("module example.com/tests\n", encoding="utf-8")

    with pytest.raises(Bug, match=r"example\.com/small"):
        _ = recipe.version


def test_a_build_that_fails_publishes_nothing_and_shows_what_go_wrote(tmp_path: Path) -> None:
    recipe = a_recipe(tmp_path)
    environment = an_environment(tmp_path, before="echo 'checksum mismatch'; exit 1")

    with pytest.raises(Stop, match=r"(?s)1 of 2, alpha failed.*checksum mismatch"):
        build(recipe, environment, silent)

    folder = folder_of(recipe, environment)
    assert [path.name for path in folder.root.iterdir()] == [f"{folder.name}.lock"]


def test_a_build_that_is_killed_leaves_nothing_that_looks_complete_and_the_next_one_clears_up(tmp_path: Path) -> None:
    recipe = a_recipe(tmp_path)
    # The first program is built, the second never ends.
    environment = an_environment(tmp_path, before='if [ "$3" = example.com/beta ]; then exec sleep 600; fi')
    command = [sys.executable, "-c", BUILDER, str(recipe.module)]
    builder = subprocess.Popen(command, env={**environment, "PYTHONPATH": os.pathsep.join(sys.path)})
    wait_for(lambda: len(built(tmp_path)) == 2)

    builder.send_signal(signal.SIGKILL)
    builder.wait()

    folder = folder_of(recipe, environment)
    assert not folder.path.exists()
    wait_for(lambda: not lives(int(built(tmp_path)[1][0])))
    assert build(recipe, an_environment(tmp_path), silent).problem() is None
    assert sorted(path.name for path in folder.root.iterdir()) == [folder.name, f"{folder.name}.lock"]


def test_of_two_builders_at_once_one_builds_and_the_other_waits_for_it(tmp_path: Path) -> None:
    recipe = a_recipe(tmp_path)
    # The first builder goes on only when the second one has said that it waits.
    environment = an_environment(tmp_path, before=f"while [ ! -e '{tmp_path}/waiting' ]; do sleep 0.01; done")

    def say(line: str) -> None:
        if "waiting for it" in line:
            (tmp_path / "waiting").touch()

    builders = [threading.Thread(target=build, args=(recipe, environment, say)) for _ in range(2)]
    for builder in builders:
        builder.start()
    for builder in builders:
        builder.join()

    assert folder_of(recipe, environment).problem() is None
    assert len(built(tmp_path)) == 2


def test_a_damaged_folder_is_built_anew(tmp_path: Path) -> None:
    recipe, environment = a_recipe(tmp_path), an_environment(tmp_path)
    folder = build(recipe, environment, silent)
    (folder.path / "alpha").write_text("cut", encoding="utf-8")

    again = build(recipe, environment, silent)

    assert again.problem() is None
    assert len(built(tmp_path)) == 4


NEXT_GO = f"go{NEWEST_GO[0]}.{NEWEST_GO[1] + 1}"


@pytest.mark.parametrize("version", ["go1.24.0", "go1.24.13", "go1.26.8", "go1.26", "go1.26.8 X:nocoverageredesign"])
def test_a_go_between_the_bounds_fits(version: str) -> None:
    assert problem_with(version, (1, 24, 0)) is None


@pytest.mark.parametrize(
    ("version", "why"),
    [
        ("go1.19.8", "too old"),
        ("go1.23.99", "too old"),
        (NEXT_GO, "newer than any"),
        (f"{NEXT_GO}.1", "newer than any"),
        (f"{NEXT_GO}rc1", "no released version"),
        ("devel go1.28-1a2b3c4", "no released version"),
        ("", "no released version"),
    ],
)
def test_a_go_outside_the_bounds_is_refused_with_what_is_needed(version: str, why: str) -> None:
    problem = problem_with(version, (1, 24, 0))

    assert problem is not None
    assert why in problem
    assert "1.24.0 or later" in problem


def test_an_old_go_that_cannot_be_replaced_is_named_with_what_to_do(tmp_path: Path) -> None:
    environment = {**an_environment(tmp_path, version="go1.19.8"), "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": ""}

    with pytest.raises(Stop, match=r"(?s)go1\.19\.8, too old.*pip could not install.*Put a Go"):
        build(a_recipe(tmp_path), environment, silent)
