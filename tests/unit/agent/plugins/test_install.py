"""Installing a tiny variant for real: real wheels, real pip, a real store."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from hpi_agent.plugins.environment import PluginEnvironment, about, find_environment, stores_of_plugins, tree_name
from hpi_agent.plugins.install import Wish, choose_interpreter, install
from hpi_agent.plugins.packages import install_packages, installed_versions, make_installer
from hpi_agent.plugins.recipe import Recipe
from hpi_agent.plugins.self_test import run_self_test
from hpi_agent.plugins.variants import find_variant
from hpi_agent.store.directory import Store
from hpi_core.errors import Refused, SourceFailed, Stop
from support.read_only_mount import mounted_read_only
from support.wheelhouse import PASSES, PYTHON, a_configs_folder, a_list, a_wheel, a_wheelhouse

NO_INDEX = {"PATH": os.environ["PATH"], "PIP_INDEX_URL": "http://127.0.0.1:9/", "PIP_CONFIG_FILE": os.devnull}
"""Whoever asks an index gets no answer."""


@dataclass(frozen=True)
class Installed:
    """One variant that was installed, and what was said meanwhile."""

    store: Store
    wish: Wish
    environment: PluginEnvironment
    said: list[tuple[str, dict[str, Any]]]

    @property
    def tree(self) -> Path:
        return self.environment.python.parents[1]


@dataclass
class Said:
    """Keeps what an installation says."""

    events: list[tuple[str, dict[str, Any]]] = field(default_factory=list)

    def __call__(self, event: str, facts: Mapping[str, Any]) -> None:
        self.events.append((event, dict(facts)))


SHOWS_VARIABLES = "import os\npathlib.Path(sys.argv[1]).write_text(json.dumps(dict(os.environ)))\n"


def a_wish(folder: Path, **changes: Any) -> Wish:
    wheelhouse = a_wheelhouse(folder / "wheels")
    configs = a_configs_folder(folder / "configs", a_list(wheelhouse), **changes)
    return Wish("tiny", configs, NO_INDEX, wheelhouse=wheelhouse)


def a_recipe(wish: Wish) -> Recipe:
    variant = find_variant(wish.variant, wish.configs)
    interpreter = choose_interpreter(variant, wish)
    return Recipe(variant, variant.list_for(interpreter), interpreter, wish.wheelhouse, wish.environment, 1)


def publish_links_to(base: Path, store: Store, recipe: Recipe) -> None:
    """Publish an environment that holds the link to its interpreter and nothing else."""

    def write(directory: Path) -> None:
        (directory / "bin").mkdir()
        (directory / "bin" / "python").symlink_to(base)

    name = tree_name(recipe.variant, recipe.locked, recipe.interpreter)
    store.publish_tree("plugins", name, write, about=about(recipe.variant, recipe.locked, recipe.interpreter))


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Installed:
    folder = tmp_path_factory.mktemp("installed")
    store, wish, said = Store(folder / "store"), a_wish(folder), Said()
    return Installed(store, wish, install(store, wish, said), said.events)


def answer_of(python: Path, code: str, **variables: str) -> str:
    done = subprocess.run([python, "-I", "-c", code], capture_output=True, text=True, check=True, env=variables)
    return done.stdout.strip()


def left_behind(store: Store) -> list[Path]:
    return [*store.root.glob("plugins/*"), *store.root.glob("tmp/*")]


def test_the_environment_holds_exactly_the_locked_packages(installed: Installed) -> None:
    code = (
        "from importlib.metadata import distributions as d; print(sorted((x.metadata['Name'], x.version) for x in d()))"
    )

    answer = answer_of(installed.environment.python, code)

    assert answer == "[('tinyone', '1.0'), ('tinytwo', '2.0')]"
    assert installed.environment.versions == {"tinyone": "1.0", "tinytwo": "2.0"}


def test_every_step_is_told_in_order(installed: Installed) -> None:
    events = [event for event, _ in installed.said]

    assert events == (
        ["chosen", "environment", "fetching", "fetching", "unpacking", "compiling", "testing", "tested", "publishing"]
    )
    assert dict(installed.said)["tested"] == {"report": {"sum": 3}}


def test_the_environment_is_found_again_without_starting_it(installed: Installed) -> None:
    found = find_environment(installed.store, "tiny", installed.wish.configs)

    assert found == installed.environment


def test_a_second_installation_makes_nothing(installed: Installed) -> None:
    said = Said()

    again = install(installed.store, installed.wish, said)

    assert (again, [event for event, _ in said.events]) == (installed.environment, ["present"])


def test_naming_the_same_python_finds_the_same_environment(installed: Installed) -> None:
    wish = replace(installed.wish, python=Path(sys.executable))
    said = Said()

    again = install(installed.store, wish, said)

    assert (again, [event for event, _ in said.events]) == (installed.environment, ["chosen", "present"])


def test_the_tree_holds_neither_pip_nor_scripts(installed: Installed) -> None:
    site = installed.tree / "lib" / f"python{PYTHON}" / "site-packages"

    assert {path.name for path in (installed.tree / "bin").iterdir()} == {"python", "python3", f"python{PYTHON}"}
    assert sorted(path.name for path in site.iterdir() if path.is_dir()) == (
        ["tinyone", "tinyone-1.0.dist-info", "tinytwo", "tinytwo-2.0.dist-info"]
    )


def test_a_module_that_starts_with_the_interpreter_is_compiled_like_any_other(tmp_path: Path) -> None:
    wish = a_wish(tmp_path)
    assert wish.wheelhouse is not None
    # As setuptools has it: a line of a .pth file is run at every start, the compiler's own included.
    started = {"tinystart/__init__.py": "VALUE = 4\n", "tinystart.pth": "import tinystart\n"}
    a_wheel(wish.wheelhouse, "tinystart", "4.0", started)
    for path in (wish.configs / "locks").iterdir():
        path.write_text(a_list(wish.wheelhouse))

    made = install(Store(tmp_path / "store"), wish)

    [compiled] = made.python.parents[1].rglob("tinystart/__pycache__/*.pyc")
    assert compiled.read_bytes()[4:8] == b"\x01\x00\x00\x00"


def test_the_same_wheels_give_the_same_tree(installed: Installed, tmp_path: Path) -> None:
    again = install(Store(tmp_path / "store"), installed.wish)

    first, second = (
        {
            path.relative_to(tree): path.read_bytes()
            for path in tree.rglob("*")
            if path.is_file() and "bin" not in path.parts
        }
        for tree in (installed.tree, again.python.parents[1])
    )
    manifests = {Path("manifest.json")}
    assert first.keys() == second.keys()
    assert {path for path in first if first[path] != second[path]} - manifests == set()


def test_no_file_of_the_tree_names_the_place_where_it_was_made(installed: Installed) -> None:
    files = [path for path in installed.tree.rglob("*") if path.is_file() and path.name != "manifest.json"]

    naming = [path for path in files if str(installed.store.root).encode() in path.read_bytes()]

    assert naming == []


def test_the_tree_works_from_another_place_that_cannot_be_written(installed: Installed, tmp_path: Path) -> None:
    moved = shutil.copytree(installed.tree, tmp_path / "moved", symlinks=True)
    before = {path: path.stat().st_mtime_ns for path in moved.rglob("*")}

    answer = answer_of(moved / "bin" / "python", "import tinyone, sys; print(tinyone.__file__, tinyone.__cached__)")

    site = moved / "lib" / f"python{PYTHON}" / "site-packages" / "tinyone"
    cached = site / "__pycache__" / f"__init__.{sys.implementation.cache_tag}.pyc"
    assert answer == f"{site / '__init__.py'} {cached}"
    # The flags after the magic number: hashed, not compared with the source (PEP 552).
    assert cached.read_bytes()[4:8] == b"\x01\x00\x00\x00"
    assert {path: path.stat().st_mtime_ns for path in moved.rglob("*")} == before


def test_another_list_is_another_environment_and_the_former_one_is_not_found(
    installed: Installed, tmp_path: Path
) -> None:
    text = a_list(installed.wish.wheelhouse or tmp_path) + "# Another byte.\n"
    configs = a_configs_folder(tmp_path / "configs", text)

    assert find_environment(installed.store, "tiny", configs) is None


def test_an_environment_whose_interpreter_is_gone_is_not_found_and_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store, wish = Store(tmp_path / "store"), a_wish(tmp_path)
    base = tmp_path / "python"
    base.write_text("#!/bin/sh\n")
    base.chmod(0o755)
    recipe = replace(a_recipe(wish), interpreter=replace(a_recipe(wish).interpreter, path=base))
    publish_links_to(base, store, recipe)
    before = find_environment(store, "tiny", wish.configs)

    base.unlink()

    assert before is not None
    assert find_environment(store, "tiny", wish.configs) is None
    assert f"its interpreter {base} is gone; run `hpi-agent install tiny`" in caplog.text


def test_nothing_is_found_in_a_store_that_is_not_there(tmp_path: Path, installed: Installed) -> None:
    assert find_environment(Store(tmp_path / "store"), "tiny", installed.wish.configs) is None


def altered(wish: Wish) -> None:
    """Replace a wheel of the wheelhouse by one of the same name and version with another content."""
    assert wish.wheelhouse is not None
    a_wheel(wish.wheelhouse, "tinyone", "1.0", {"tinyone/__init__.py": "VALUE = 666\n"})


def missing(wish: Wish) -> None:
    """Take a wheel out of the wheelhouse."""
    assert wish.wheelhouse is not None
    next(wish.wheelhouse.glob("tinyone*")).unlink()


def cut(wish: Wish) -> None:
    """Cut a wheel in half, as an interrupted copy does."""
    assert wish.wheelhouse is not None
    wheel = next(wish.wheelhouse.glob("tinyone*"))
    os.truncate(wheel, wheel.stat().st_size // 2)


@pytest.fixture(scope="module")
def pip_python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a Python with pip."""
    folder = tmp_path_factory.mktemp("installer")
    return make_installer(folder / "installer", folder, a_recipe(a_wish(folder)))


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (altered, r"another file than the one that tiny-py3\d+.txt was made with.*HASHES.*tinyone"),
        (missing, r"lacks a wheel of tiny-py3\d+.txt.*No matching distribution found for tinyone==1.0.*pip download"),
        (cut, r"another file than the one that tiny-py3\d+.txt was made with.*HASHES.*tinyone"),
    ],
    ids=["altered", "missing", "cut"],
)
def test_a_wheelhouse_that_is_not_what_was_locked_is_refused_in_pip_s_own_words(
    spoil: Callable[[Wish], None], said: str, pip_python: Path, tmp_path: Path
) -> None:
    wish = a_wish(tmp_path)
    spoil(wish)

    with pytest.raises(SourceFailed) as failure:
        install_packages(pip_python, tmp_path / "target", tmp_path, a_recipe(wish), Said())

    assert re.search(said, str(failure.value), re.DOTALL), str(failure.value)
    assert "nothing was installed" in str(failure.value)


def test_a_list_with_a_package_that_has_no_hash_is_refused(pip_python: Path, tmp_path: Path) -> None:
    wish = a_wish(tmp_path)
    [locked] = (wish.configs / "locks").glob("*.txt")
    locked.write_text("tinyone==1.0\n")

    with pytest.raises(SourceFailed, match=r"Hashes are required in --require-hashes mode"):
        install_packages(pip_python, tmp_path / "target", tmp_path, a_recipe(wish), Said())


def test_pip_asks_the_index_that_it_is_set_up_for_and_heeds_no_other_wish(pip_python: Path, tmp_path: Path) -> None:
    wish = a_wish(tmp_path)
    (tmp_path / "pip.conf").write_text(f"[global]\nno-index = true\nfind-links = {wish.wheelhouse}\nuser = true\n")
    set_up = {"PATH": os.environ["PATH"], "PIP_CONFIG_FILE": str(tmp_path / "pip.conf"), "PIP_TARGET": "/nowhere"}
    recipe = a_recipe(replace(wish, environment=set_up, wheelhouse=None))

    install_packages(pip_python, tmp_path / "target", tmp_path, recipe, Said())

    assert installed_versions(tmp_path / "target") == {"tinyone": "1.0", "tinytwo": "2.0"}


def test_a_wheelhouse_is_asked_alone_whatever_pip_is_set_up_for(pip_python: Path, tmp_path: Path) -> None:
    wish, elsewhere = a_wish(tmp_path), a_wheelhouse(tmp_path / "elsewhere")
    missing(wish)
    recipe = a_recipe(replace(wish, environment={**NO_INDEX, "PIP_FIND_LINKS": str(elsewhere)}))

    with pytest.raises(SourceFailed, match="No matching distribution found for tinyone"):
        install_packages(pip_python, tmp_path / "target", tmp_path, recipe, Said())


def test_an_index_that_cannot_be_reached_is_told_from_one_that_lacks_a_wheel(pip_python: Path, tmp_path: Path) -> None:
    unreachable = {**NO_INDEX, "PIP_RETRIES": "1"}
    recipe = a_recipe(replace(a_wish(tmp_path), environment=unreachable, wheelhouse=None))

    with pytest.raises(SourceFailed) as failure:
        install_packages(pip_python, tmp_path / "target", tmp_path, recipe, Said())

    assert "the index that pip is set up for cannot be reached" in str(failure.value)
    assert "WARNING: Retrying" in str(failure.value)


@pytest.mark.parametrize(
    ("self_test", "seconds", "said"),
    [
        ("raise SystemExit('1 is not 2')", 60, r"the self-test of tiny failed \(exit code 1\).*1 is not 2"),
        ("import os; os.abort()", 60, r"the self-test of tiny failed \(was killed by SIGABRT\)"),
        ("import signal; signal.pause()", 1, r"the self-test of tiny took longer than 1 s and was ended"),
        ("import pip", 60, r"No module named 'pip'"),
        ("print('done')", 60, r"its report cannot be read"),
        ("import sys; open(sys.argv[1], 'w').write('[]')", 60, r"it is no JSON object"),
        ("import sys; open(sys.argv[1], 'w').write('[' * 100_000)", 60, r"its report cannot be read"),
    ],
    ids=["differs", "crashes", "hangs", "imports what is not in the list", "no report", "a list", "nested deeply"],
)
def test_a_self_test_that_does_not_pass_says_how_it_ended(
    self_test: str, seconds: int, said: str, installed: Installed, tmp_path: Path
) -> None:
    wish = a_wish(tmp_path, self_test=self_test, seconds=seconds)

    with pytest.raises(Stop) as failure:
        run_self_test(installed.tree, tmp_path, a_recipe(wish))

    assert re.search(said, str(failure.value), re.DOTALL), str(failure.value)


def test_an_environment_that_fails_its_self_test_is_not_installed(tmp_path: Path) -> None:
    store, wish = Store(tmp_path / "store"), a_wish(tmp_path, self_test="raise SystemExit('1 is not 2')")

    with pytest.raises(Stop, match="nothing was installed"):
        install(store, wish)

    assert left_behind(store) == []


def test_nothing_of_the_caller_s_variables_reaches_the_self_test(installed: Installed, tmp_path: Path) -> None:
    wish = a_wish(tmp_path, self_test=PASSES + SHOWS_VARIABLES)
    loud = {**wish.environment, "PYTHONPATH": "/nowhere", "HTTPS_PROXY": "http://127.0.0.1:9", "FLAGS_use_mkldnn": "1"}

    seen = run_self_test(installed.tree, tmp_path, a_recipe(replace(wish, environment=loud)))

    assert set(seen) - {"LC_CTYPE"} == {"PATH", "HOME", "TMPDIR", "LANG", "ORT_DISABLE_TELEMETRY"}
    assert seen["HOME"] == str(tmp_path)


def test_a_wheelhouse_that_is_no_directory_is_refused(tmp_path: Path) -> None:
    wish = replace(a_wish(tmp_path), wheelhouse=tmp_path / "nowhere")

    with pytest.raises(Refused, match="nowhere is no directory; --wheelhouse names a directory of wheels"):
        install(Store(tmp_path / "store"), wish)


def test_a_disk_with_too_little_room_is_told_before_anything_is_fetched(tmp_path: Path) -> None:
    wish = a_wish(tmp_path)
    table = wish.configs / "plugins" / "variants.yml"
    table.write_text(table.read_text().replace("1000000", str(10**18)))

    with pytest.raises(Stop, match=r"GB free, at least 1000000000\.0 GB are needed"):
        install(Store(tmp_path / "store"), wish)
    assert left_behind(Store(tmp_path / "store")) == []


def test_environments_are_looked_for_in_the_store_and_then_where_an_image_has_them(tmp_path: Path) -> None:
    own, brought = Store(tmp_path / "own"), tmp_path / "brought"
    brought.mkdir()

    assert stores_of_plugins(own, {}) == (own,)
    assert stores_of_plugins(own, {"HPI_PLUGINS": ""}) == (own,)
    assert stores_of_plugins(own, {"HPI_PLUGINS": str(brought)}) == (own, Store(brought))


def test_a_second_store_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Refused, match=r"\$HPI_PLUGINS is '.*/nowhere', which is no directory"):
        stores_of_plugins(Store(tmp_path), {"HPI_PLUGINS": str(tmp_path / "nowhere")})


def test_an_environment_is_found_in_a_store_that_nobody_can_write(installed: Installed, tmp_path: Path) -> None:
    store = tmp_path / "store"
    code = (
        "import pathlib, subprocess, sys\n"
        "from hpi_agent.plugins.environment import find_environment\n"
        "from hpi_agent.store.directory import Store\n"
        "store, configs = map(pathlib.Path, sys.argv[1:])\n"
        "found = find_environment(Store(store), 'tiny', configs)\n"
        "subprocess.run([found.python, '-I', '-c', 'import tinyone; print(tinyone.__file__)'], check=True)\n"
    )
    command = [sys.executable, "-c", code, str(store), str(installed.wish.configs)]

    done = subprocess.run(
        [*mounted_read_only(installed.store.root, store), *command], capture_output=True, text=True, check=True
    )

    assert Path(done.stdout.strip()).is_relative_to(store / "plugins")
    assert done.stderr == ""


def test_an_environment_says_which_variant_it_is_and_of_which_lock(installed: Installed) -> None:
    said = json.loads((installed.tree / "hpi-plugin.json").read_text())

    assert said == {"variant": "tiny", "lockDigest": installed.environment.lock_digest}


def test_features_are_installed_with_a_variant_and_found_with_it_alone(tmp_path: Path) -> None:
    store, wish = Store(tmp_path / "store"), a_wish(tmp_path)
    assert wish.wheelhouse is not None
    extra = tmp_path / "extra"
    a_wheel(extra, "tinyextra", "3.0", {"tinyextra/__init__.py": "VALUE = 3\n"})
    (wish.configs / "locks" / f"extra-py{PYTHON.replace('.', '')}.txt").write_text(a_list(extra))
    shutil.copytree(extra, wish.wheelhouse, dirs_exist_ok=True)
    with (wish.configs / "plugins" / "variants.yml").open("a") as table:
        table.write("  features: {more: extra}\n")

    made = install(store, replace(wish, features=("more",)))

    assert answer_of(made.python, "import tinyone, tinyextra; print(tinyextra.VALUE)") == "3"
    assert find_environment(store, "tiny", wish.configs, ("more",)) == made
    assert find_environment(store, "tiny", wish.configs) is None
