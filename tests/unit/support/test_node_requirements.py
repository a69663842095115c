"""Where a node cannot run, one sentence says what is needed."""

from __future__ import annotations

import fcntl
import os
import platform
import shutil
from pathlib import Path

import pytest

from hpi_core.errors import HpiError, Refused
from support.node import cgroups
from support.node.__main__ import main
from support.node.cgroups import ControlGroups
from support.node.debian import DebianPrograms, debian_programs
from support.node.machine import Machine
from support.node.requirements import require_node
from support.node.run_folder import LOCK, PREFIX, is_of_the_dead, remove_leftovers

WITHOUT_MEMORY = "31 23 0:29 / /nowhere/cpu rw,relatime - cgroup cgroup rw,cpu\n"


def test_another_user_than_root_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)

    with pytest.raises(Refused, match=r"a Kubernetes node cannot run here: root is needed, this is user 1000"):
        require_node()


def test_all_that_is_missing_is_told_at_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    mounts = tmp_path / "mountinfo"
    mounts.write_text(WITHOUT_MEMORY, encoding="utf-8")
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(cgroups, "MOUNTS", mounts)
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(Refused) as refused:
        require_node()

    for needed in ("root", "unshare", "nsenter", "of the package iproute2", "no control group hierarchy with memory"):
        assert needed in str(refused.value)


def test_the_command_gives_the_sentence_and_no_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)

    code = main(["run"])

    assert code == 1
    assert capsys.readouterr().err.startswith("node: a Kubernetes node cannot run here: root is needed")


@pytest.mark.parametrize(
    ("release", "user", "said"),
    [
        ({"ID": "fedora", "PRETTY_NAME": "Fedora Linux 44"}, 0, r"this is Fedora Linux 44; needed are Debian"),
        ({}, 0, r"this is an unknown system; needed are Debian"),
        ({"ID": "debian", "VERSION_ID": "12"}, 1000, r"this is user 1000; needed are Debian .* and root"),
    ],
    ids=["another-distribution", "no-distribution", "another-user"],
)
def test_packages_of_debian_are_refused_elsewhere(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, release: dict[str, str], user: int, said: str
) -> None:
    monkeypatch.setattr(platform, "freedesktop_os_release", lambda: release)
    monkeypatch.setattr(os, "geteuid", lambda: user)
    monkeypatch.setattr(shutil, "which", lambda tool: f"/usr/bin/{tool}")

    with pytest.raises(Refused, match=said):
        debian_programs(["containerd"], {"XDG_CACHE_HOME": str(tmp_path)}, print)

    assert list(tmp_path.iterdir()) == []


def test_what_is_unpacked_comes_before_what_the_system_has(tmp_path: Path) -> None:
    own = tmp_path / "usr/bin/sh"
    own.parent.mkdir(parents=True)
    own.write_text("#!/bin/sh\n", encoding="utf-8")
    own.chmod(0o755)
    programs = DebianPrograms(tmp_path)

    assert programs.program("sh") == own
    assert programs.program("env") in (Path("/usr/bin/env"), Path("/bin/env"))
    assert programs.folder("usr/bin") == own.parent
    assert programs.folder("usr/share") == Path("/usr/share")


def test_what_nobody_has_is_named(tmp_path: Path) -> None:
    with pytest.raises(HpiError, match="no-such-program is neither below"):
        DebianPrograms(tmp_path).program("no-such-program")


@pytest.mark.parametrize(
    ("name", "dead"),
    [
        (f"{PREFIX}{os.getpid()}-abc", False),
        # Linux gives no number above 4194304.
        (f"{PREFIX}4194305-abc", True),
        (f"{PREFIX}mine", False),
    ],
    ids=["alive", "gone", "no-number"],
)
def test_a_name_tells_whether_its_process_is_gone(name: str, dead: bool) -> None:
    assert is_of_the_dead(name) is dead


def test_leftovers_of_the_dead_go_and_others_stay(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    runs, hierarchy, mounts = tmp_path / "runs", tmp_path / "cgroup", tmp_path / "mountinfo"
    mounts.write_text(f"35 31 0:32 / {hierarchy} rw - cgroup cgroup rw,memory\n", encoding="utf-8")
    monkeypatch.setattr(cgroups, "MOUNTS", mounts)
    kept = [f"{PREFIX}{os.getpid()}-abc", "other-4194305-abc"]
    for name in (*kept, f"{PREFIX}4194305-abc"):
        (runs / name / "below").mkdir(parents=True)
        (hierarchy / name / "below").mkdir(parents=True)
    (hierarchy / "memory.usage_in_bytes").touch()

    remove_leftovers(runs)

    assert sorted(path.name for path in runs.iterdir()) == sorted(kept)
    assert sorted(path.name for path in hierarchy.iterdir() if path.is_dir()) == sorted(kept)


def test_the_folder_of_a_process_in_another_container_stays(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    hierarchy, mounts = tmp_path / "cgroup", tmp_path / "mountinfo"
    mounts.write_text(f"35 31 0:32 / {hierarchy} rw - cgroup cgroup rw,memory\n", encoding="utf-8")
    monkeypatch.setattr(cgroups, "MOUNTS", mounts)
    hierarchy.mkdir()
    (hierarchy / "memory.usage_in_bytes").touch()
    run = tmp_path / f"{PREFIX}4194305-abc"
    run.mkdir()

    with (run / LOCK).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        remove_leftovers(tmp_path)
        stayed = run.exists()
    remove_leftovers(tmp_path)

    assert stayed
    assert not run.exists()


@pytest.mark.parametrize(
    ("folder", "host_folder", "said"),
    [
        ("/var/lib/ci/run", "/var/lib/hpi", "a node covers /var/lib, so its folder may not be /var/lib/ci/run"),
        ("/nowhere/run", "/opt/hpi", "/opt/hpi would be made on this machine; a host folder lies below /run"),
    ],
    ids=["covered-folder", "host-folder-elsewhere"],
)
def test_folders_that_would_touch_the_machine_are_refused(folder: str, host_folder: str, said: str) -> None:
    groups = object.__new__(ControlGroups)

    with pytest.raises(Refused, match=said):
        Machine(Path(folder), groups, Path("/nowhere/pod"), "198.19.0.0/16", [host_folder])

    assert not Path(folder).exists()
