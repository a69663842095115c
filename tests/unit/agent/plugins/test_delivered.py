"""What a pod finds of the environments that its agent has installed; entering one is tested with a real agent."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from hpi_agent.plugins.delivered import enter_runtime, find_delivered
from hpi_agent.store.directory import Store
from hpi_core.errors import HpiError, Refused, Retry

LOCK, OTHER_LOCK = "sha256:" + "a" * 64, "sha256:" + "b" * 64


def a_tree(store: Store, number: int, *, python: str = sys.executable, lock: str = LOCK, variant: str = "tiny") -> str:
    """Publish an environment that leans on a Python; return its name."""

    def write(directory: Path) -> None:
        (directory / "bin").mkdir()
        (directory / "bin" / "python").symlink_to(python)

    name = f"{variant}-{lock[7:23]}-{number:016x}"
    store.publish_tree("plugins", name, write, about={"lock": lock, "interpreter": {"path": python}})
    return name


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "runtimes")


def test_an_environment_is_found_by_variant_and_lock_and_one_that_works_comes_first(store: Store) -> None:
    a_tree(store, 1, python="/gone/python3.11")
    works = a_tree(store, 2)
    a_tree(store, 0, lock=OTHER_LOCK)
    # The name of one variant may begin with that of another.
    a_tree(store, 0, variant="tiny-more")

    found = find_delivered(store, "tiny", LOCK)

    assert found is not None
    assert (found.tree, found.works) == (works, True)
    assert find_delivered(store, "tiny", "sha256:" + "c" * 64) is None


@pytest.mark.parametrize("folder", ["", str(Path(sys.prefix).parent)], ids=["no pod of such a runtime", "inside"])
def test_nothing_is_entered(folder: str) -> None:
    enter_runtime({"HPI_RUNTIMES": folder}, ["serve"])


@pytest.mark.parametrize(
    ("variables", "kind", "says"),
    [
        ({"HPI_LOCK_DIGEST": LOCK}, Refused, "HPI_VARIANT or $HPI_LOCK_DIGEST names nothing"),
        ({"HPI_VARIANT": "tiny", "HPI_LOCK_DIGEST": "x"}, Refused, "HPI_VARIANT or $HPI_LOCK_DIGEST names nothing"),
        (
            {"HPI_VARIANT": "tiny", "HPI_LOCK_DIGEST": OTHER_LOCK},
            Retry,
            f"has no tiny with {OTHER_LOCK}; it has tiny-aaaa",
        ),
        ({"HPI_VARIANT": "tiny", "HPI_LOCK_DIGEST": LOCK}, Refused, "leans on the Python /gone/python3.11, which this"),
    ],
)
def test_what_cannot_be_entered_is_said(
    store: Store, variables: dict[str, str], kind: type[HpiError], says: str
) -> None:
    a_tree(store, 1, python="/gone/python3.11")

    with pytest.raises(kind) as raised:
        enter_runtime({"HPI_RUNTIMES": str(store.root), **variables}, ["serve"])

    assert says in str(raised.value)
