"""Runtimes that the agent installs: when it tries, what it says, what it removes; installing itself is a double."""

from __future__ import annotations

from pathlib import Path

import pytest

from hpi_agent.node import runtimes as module
from hpi_agent.node.installation import AGENT_BYTES, LEAST_BYTES, MOST_BYTES, Bounds, Origin, memory_left
from hpi_agent.node.runtimes import FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS, Keeping, Runtimes
from hpi_agent.store.directory import Store
from hpi_core.api.v1alpha1.node import NodeSpec, WantedRuntime
from hpi_core.errors import HpiError, Stop

LOCK, OTHER_LOCK = "sha256:" + "a" * 64, "sha256:" + "b" * 64
UID = "7f8a1c22-3b1d-4a52-8e11-2c9d4f6b7a80"
GRACE = 100.0


class Here:
    """A node's folder, a clock, and an installer that writes a tree or fails as it is told."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.store = Store(folder / "runtimes")
        self.now = 0.0
        self.fails_with: HpiError | None = None
        self.tries = 0
        self.news = 0
        keeping = Keeping(Origin(self.store.root, folder, folder / "wheelhouse"), Bounds(1, 1.0), GRACE)
        self.runtimes = Runtimes(keeping, self._told, lambda: self.now)
        monkeypatch.setattr(module, "install_in_child", self._install)

    def _told(self) -> None:
        self.news += 1

    def _install(self, wanted: WantedRuntime, *_: object) -> None:
        self.tries += 1
        if self.fails_with is not None:
            raise self.fails_with

        def write(directory: Path) -> None:
            (directory / "bin").mkdir()
            (directory / "bin" / "python").symlink_to("/bin/sh")

        about = {"variant": wanted.variant, "lock": wanted.lock_digest, "interpreter": {"path": "/bin/sh"}}
        name = f"{wanted.variant}-{wanted.lock_digest[7:23]}-{'0' * 16}"
        self.store.publish_tree("plugins", name, write, about=about)

    def want(self, *locks: str, delivery: str = "Store", variant: str | None = "tiny") -> None:
        rows = [
            {
                "name": f"r{number}",
                "lockDigest": lock,
                "delivery": delivery,
                **({"variant": variant} if variant else {}),
            }
            for number, lock in enumerate(locks)
        ]
        self.runtimes.want(NodeSpec.model_validate({"nodeUid": UID, "runtimes": rows}))

    def said(self) -> dict[str, tuple[str, str]]:
        return {name: (one.state, one.message) for name, one in self.runtimes.states().items()}

    def trees(self) -> int:
        return len(self.store.entries())


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Here:
    return Here(tmp_path, monkeypatch)


def test_what_is_wanted_is_queued_then_installed_once(here: Here) -> None:
    here.want(LOCK)
    before = here.said()

    here.runtimes.turn()
    here.runtimes.turn()

    assert before == {"r0": ("Queued", "")}
    assert here.said() == {"r0": ("Installed", "")}
    assert (here.tries, here.trees()) == (1, 1)


def test_what_comes_as_an_image_is_not_installed(here: Here) -> None:
    here.want(LOCK, delivery="Image")

    here.runtimes.turn()

    assert (here.said(), here.tries) == ({}, 0)


def test_a_runtime_of_no_known_variant_is_said_to_be_so(here: Here) -> None:
    here.want(LOCK, variant=None)

    here.runtimes.turn()

    assert here.said()["r0"] == ("Failed", module.WITHOUT_VARIANT)
    assert here.tries == 0


def test_a_failure_is_said_and_tried_again_with_growing_pauses(here: Here) -> None:
    here.want(LOCK)
    here.fails_with = Stop("no room")

    pauses = []
    for _ in range(9):
        pauses.append(here.runtimes.turn())
        here.now += 1
        here.runtimes.turn()
        here.now += LONGEST_PAUSE_SECONDS

    assert here.tries == 9
    assert pauses[0] == FIRST_PAUSE_SECONDS
    assert pauses == sorted(pauses)
    assert here.said() == {"r0": ("Failed", "no room")}

    here.fails_with = None
    here.runtimes.turn()
    assert here.said() == {"r0": ("Installed", "")}


def test_another_lock_is_tried_at_once(here: Here) -> None:
    here.want(LOCK)
    here.fails_with = Stop("no room")
    here.runtimes.turn()

    here.fails_with = None
    here.want(OTHER_LOCK)
    here.runtimes.turn()

    assert here.said() == {"r0": ("Installed", "")}


def test_before_anybody_has_said_what_is_wanted_nothing_is_removed(here: Here) -> None:
    here.want(LOCK)
    here.runtimes.turn()
    again = Runtimes(here.runtimes._keeping, lambda: None, lambda: here.now)

    here.now += GRACE * 10
    again.turn()

    assert here.trees() == 1


@pytest.mark.parametrize(("seconds", "left"), [(GRACE - 1, 1), (GRACE, 0)])
def test_what_nothing_wants_goes_after_a_while(here: Here, seconds: float, left: int) -> None:
    here.want(LOCK)
    here.runtimes.turn()

    here.want()
    here.runtimes.turn()
    here.now += seconds
    here.runtimes.turn()

    assert here.trees() == left


def test_what_is_wanted_again_in_time_stays(here: Here) -> None:
    here.want(LOCK)
    here.runtimes.turn()
    here.want()
    here.runtimes.turn()
    here.now += GRACE - 1
    here.want(LOCK)
    here.runtimes.turn()

    here.now += GRACE * 10
    here.runtimes.turn()

    assert (here.trees(), here.tries) == (1, 1)


def test_what_a_pod_uses_stays_until_it_has_ended(here: Here) -> None:
    here.want(LOCK)
    here.runtimes.turn()
    [tree] = here.store.entries()
    here.want()
    here.runtimes.turn()
    here.now += GRACE

    used = here.store.open_tree("plugins", tree.key)
    assert used is not None
    with used:
        here.runtimes.turn()
        during = here.trees()
    here.runtimes.turn()

    assert (during, here.trees()) == (1, 0)


@pytest.mark.parametrize(
    ("available", "left"),
    [
        (None, MOST_BYTES),
        (2**40, MOST_BYTES),
        (2**30, 2**30 - AGENT_BYTES),
        (AGENT_BYTES, LEAST_BYTES),
    ],
)
def test_an_installation_may_take_what_the_container_leaves_beside_the_agent(available: int | None, left: int) -> None:
    assert memory_left(available) == left
