"""Nested trees with symbolic links, such as Python environments."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from hpi_agent.store.directory import MANIFEST, Damaged, Store, find_damage
from hpi_agent.store.tree import PATHS
from hpi_core.errors import Bug, Refused
from support.publishing import TREE, publish_tree, write_tree


def replace_text(path: Path, text: str) -> None:
    path.write_text(text)


def relink(path: Path, target: str) -> None:
    path.unlink()
    path.symlink_to(target)


def replace_by_a_link(path: Path) -> None:
    path.rename(path.parents[3] / "elsewhere")
    path.symlink_to(path.parents[3] / "elsewhere")


def replace_by_a_file(path: Path) -> None:
    path.rmdir()
    path.touch()


MODULE = "lib/package/module.py"
DAMAGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "a flipped bit": (
        lambda tree: replace_text(tree / MODULE, "VALUE = 1\n" * 499 + "VALUE = 3\n"),
        "in lib/package: module.py has sha256:",
    ),
    "a truncated file": (lambda tree: os.truncate(tree / MODULE, 10), f"{MODULE} has 10 bytes, the manifest says 5000"),
    "an added file": (lambda tree: (tree / "lib" / "sitecustomize.py").touch(), "lib/sitecustomize.py is there, the"),
    "a missing file": (lambda tree: (tree / MODULE).unlink(), f"{MODULE} is missing"),
    "a link to elsewhere": (lambda tree: relink(tree / "bin" / "python", "/bin/sh"), "bin/python is a link to /bin/sh"),
    "a file behind a link": (lambda tree: replace_by_a_link(tree / MODULE), f"{MODULE} is a link to "),
    "a file for a directory": (lambda tree: replace_by_a_file(tree / "lib" / "empty"), "lib/empty is a file, the"),
    "a script that cannot be run": (lambda tree: (tree / "bin" / "script").chmod(0o644), "bin/script has mode 644"),
    "a file everybody can write": (lambda tree: (tree / MODULE).chmod(0o666), f"{MODULE} can be written by everybody"),
    "a directory everybody can write": (lambda tree: (tree / "lib").chmod(0o777), "lib can be written by everybody"),
}


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A published tree, in a store that is its parent's parent."""
    return publish_tree(tmp_path)


def test_a_published_tree_is_found_with_its_links_and_modes(tree: Path, tmp_path: Path) -> None:
    entry = Store(tmp_path).open_tree("plugins", TREE)

    assert entry is not None
    with entry:
        entry.verify()
        assert (entry.directory, entry.about) == (tree, {"variant": "paddle2onnx"})
    assert os.readlink(tree / "lib64") == "lib"
    assert os.readlink(tree / "bin" / "python") == "/usr/bin/env"
    assert os.access(tree / "bin" / "script", os.X_OK)


def test_the_size_of_a_tree_is_that_of_its_files_and_of_their_list(tree: Path, tmp_path: Path) -> None:
    [entry] = Store(tmp_path).entries()

    files = [path for path in tree.rglob("*") if path.is_file() and not path.is_symlink() and path.name != MANIFEST]
    linked = {path for path in files if "lib64" in path.parts}
    assert entry.bytes == sum(path.stat().st_size for path in set(files) - linked)


@pytest.mark.parametrize(("damage", "says"), DAMAGES.values(), ids=DAMAGES.keys())
def test_every_change_in_a_tree_is_found_by_the_full_check_and_the_next_publication_succeeds(
    damage: Callable[[Path], object], says: str, tree: Path, tmp_path: Path
) -> None:
    damage(tree)
    entry = Store(tmp_path).open_tree("plugins", TREE)
    assert entry is not None

    with entry, pytest.raises(Damaged) as found:
        entry.verify()

    assert says in str(found.value)
    assert len(Store(tmp_path).quarantined()) == 1
    assert find_damage(publish_tree(tmp_path)) is None


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda tree: (tree / MANIFEST).unlink(), "manifest.json is missing"),
        (lambda tree: os.truncate(tree / PATHS, 3), "manifest.paths.json has 3 bytes"),
        (lambda tree: tree.chmod(0o777), "can be written by everybody"),
        (lambda tree: (tree / MANIFEST).write_text("{}"), "manifest.json has sha256:"),
    ],
    ids=["no manifest", "a short list", "a root everybody can write", "another manifest"],
)
def test_what_the_quick_check_sees_puts_a_tree_into_quarantine_at_once(
    damage: Callable[[Path], object], says: str, tree: Path, tmp_path: Path
) -> None:
    damage(tree)

    entry = Store(tmp_path).open_tree("plugins", TREE)

    assert entry is None
    assert says in str(Store(tmp_path).quarantined()[0].damage)


@pytest.mark.parametrize(
    ("target", "allowed"),
    [("lib", True), ("../outside", False), ("lib/../../outside", False), ("/usr/bin/env", True), ("{tree}/lib", False)],
)
def test_a_link_leads_inside_the_tree_or_by_an_absolute_path_outside_it(
    target: str, allowed: bool, tmp_path: Path
) -> None:
    def write(directory: Path) -> None:
        (directory / "lib").mkdir()
        (directory / "link").symlink_to(target.format(tree=directory))

    if allowed:
        assert find_damage(Store(tmp_path).publish_tree("plugins", TREE, write, about={})) is None
    else:
        with pytest.raises(Bug, match=r"the link .*/link leads to .*; it must lead inside the tree, or by an absolute"):
            Store(tmp_path).publish_tree("plugins", TREE, write, about={})
        assert not (tmp_path / "plugins").exists()


@pytest.mark.parametrize("name", [MANIFEST, PATHS])
def test_a_tree_must_not_bring_a_file_of_the_stores_own_name(name: str, tmp_path: Path) -> None:
    with pytest.raises(Refused, match="is the store's own name"):
        Store(tmp_path).publish_tree("plugins", TREE, lambda tree: (tree / name).touch(), about={})


def test_a_pipe_in_a_tree_is_a_bug(tmp_path: Path) -> None:
    with pytest.raises(Bug, match="is neither file, directory nor link"):
        Store(tmp_path).publish_tree("plugins", TREE, lambda tree: os.mkfifo(tree / "pipe"), about={})


def test_a_tree_that_is_there_is_not_made_again(tree: Path, tmp_path: Path) -> None:
    made: list[Path] = []

    again = Store(tmp_path).publish_tree("plugins", TREE, made.append, about={})

    assert (again, made) == (tree, [])


def test_a_directory_behind_a_link_in_the_place_of_a_tree_is_never_followed(tree: Path, tmp_path: Path) -> None:
    tree.rename(tmp_path / "elsewhere")
    tree.symlink_to(tmp_path / "elsewhere")

    entry = Store(tmp_path).open_tree("plugins", TREE)

    assert entry is None
    assert (tmp_path / "elsewhere" / "lib").is_dir()


def test_names_that_are_no_unicode_are_sealed_too(tmp_path: Path) -> None:
    def write(directory: Path) -> None:
        write_tree(directory)
        Path(os.fsdecode(os.fsencode(directory) + b"/\xff")).touch()

    tree = Store(tmp_path).publish_tree("plugins", TREE, write, about={})

    assert find_damage(tree) is None
