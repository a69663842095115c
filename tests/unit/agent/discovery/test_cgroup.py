"""Where the limits of this process are: hierarchies, mounts, namespaces, ancestors."""

from __future__ import annotations

from pathlib import Path

import pytest

from hpi_agent.discovery import cpu_allowance
from hpi_agent.discovery.cgroup import MAX_DEPTH, MEMBERSHIP_FILE, MOUNT_FILE, find_lineage, read_control_groups
from hpi_agent.discovery.host_files import HostFiles
from hpi_core.errors import Refused
from support.host_trees import host_files, host_tree


def directories(root: Path, controller: str) -> tuple[tuple[str, ...], list[str]]:
    files = HostFiles(root)
    lineage = find_lineage(files, read_control_groups(files), controller)
    return (() if lineage is None else lineage.directories), files.notes


def test_the_lineage_runs_from_the_own_cgroup_to_the_mount_root(tmp_path: Path) -> None:
    got, notes = directories(host_tree(tmp_path, "hybrid-v1-quota-in-ancestor"), "cpu")

    assert got == ("/sys/fs/cgroup/cpu/batch/leaf", "/sys/fs/cgroup/cpu/batch", "/sys/fs/cgroup/cpu")
    assert notes == []


def test_a_mount_that_shows_only_the_own_cgroup_is_its_directory(tmp_path: Path) -> None:
    got, notes = directories(host_tree(tmp_path, "container-v1-combined"), "memory")

    assert got == ("/sys/fs/cgroup/memory",)
    assert notes == []


@pytest.mark.parametrize(
    ("own", "mounted"),
    [
        pytest.param("/../..", "/", id="the process left its namespace's root"),
        pytest.param("/../other", "/", id="the process is beside its namespace's root"),
        pytest.param("/", "/../..", id="mounted before the namespace was made"),
        pytest.param("/gone", "/", id="the own cgroup is not in the mounted tree"),
        pytest.param("/gone (deleted)", "/", id="the own cgroup was removed"),
    ],
)
def test_an_invisible_cgroup_gets_the_limits_of_the_mount_root_and_a_note(
    tmp_path: Path, own: str, mounted: str
) -> None:
    mounts = host_files("container-v2-two-nodes")[MOUNT_FILE].replace("0:30 / ", f"0:30 {mounted} ")
    root = host_tree(tmp_path, "container-v2-two-nodes", {MEMBERSHIP_FILE: f"0::{own}\n", MOUNT_FILE: mounts})

    got, notes = directories(root, "cpu")

    assert got == ("/sys/fs/cgroup",)
    assert any("not visible" in note for note in notes)


def test_a_path_that_begins_like_the_mount_root_is_not_below_it(tmp_path: Path) -> None:
    mounts = host_files("container-v2-two-nodes")[MOUNT_FILE].replace("0:30 / ", "0:30 /pod ")
    root = host_tree(tmp_path, "container-v2-two-nodes", {MEMBERSHIP_FILE: "0::/pod2/a\n", MOUNT_FILE: mounts})

    got, notes = directories(root, "cpu")

    assert got == ("/sys/fs/cgroup",)
    assert len(notes) == 1


def test_of_two_mounts_the_one_that_shows_more_ancestors_is_read(tmp_path: Path) -> None:
    narrow = "40 1 0:28 /system.slice/hpi.slice /narrow rw - cgroup2 cgroup2 rw\n"
    mounts = narrow + host_files("host-v2-nested-aarch64")[MOUNT_FILE]

    got, _ = directories(host_tree(tmp_path, "host-v2-nested-aarch64", {MOUNT_FILE: mounts}), "cpu")

    assert got[-1] == "/sys/fs/cgroup"


def test_a_mount_point_with_a_space_is_found(tmp_path: Path) -> None:
    mounts = "33 25 0:28 / /control\\040groups rw - cgroup2 cgroup2 rw\n"
    changes = {
        MOUNT_FILE: mounts,
        "/control groups/system.slice/hpi.slice/hpi-agent.service/cpu.max": "200000 100000\n",
    }

    got = cpu_allowance(host_tree(tmp_path, "host-v2-nested-aarch64", changes))

    assert (got.whole_cores, got.bound_by) == (2, "quota v2")


@pytest.mark.parametrize(
    ("host", "cores"),
    [("host-v2-nested-aarch64", 3), ("hybrid-v1-quota-in-ancestor", 1), ("container-v2-two-nodes", 2)],
)
def test_without_a_list_of_mounts_the_customary_places_are_read_and_said(tmp_path: Path, host: str, cores: int) -> None:
    got = cpu_allowance(host_tree(tmp_path, host, {MOUNT_FILE: None}))

    assert got.whole_cores == cores
    assert any("mountinfo is missing" in note for note in got.notes)


def test_without_a_list_of_mounts_a_combined_controller_is_found_under_its_full_name(tmp_path: Path) -> None:
    got, _ = directories(host_tree(tmp_path, "container-v1-combined", {MOUNT_FILE: None}), "cpu")

    assert got == ("/sys/fs/cgroup/cpu,cpuacct",)


def test_a_controller_that_is_mounted_nowhere_is_a_note(tmp_path: Path) -> None:
    root = host_tree(tmp_path, "container-v2-two-nodes", {MOUNT_FILE: "1 0 8:1 / / rw - ext4 /dev/sda1 rw\n"})

    got = cpu_allowance(root)

    assert (got.whole_cores, got.quota) == (8, None)
    assert any("no cgroup file system with the cpu controller is mounted" in note for note in got.notes)


def test_a_host_mounted_below_the_root_is_read_by_its_own_mount_points(tmp_path: Path) -> None:
    root = host_tree(tmp_path, "host-v2-nested-aarch64")
    own = "50 1 0:28 /pod /sys/fs/cgroup ro - cgroup2 cgroup2 rw\n"
    hosts = f"51 1 0:28 / {root}/sys/fs/cgroup ro - cgroup2 cgroup2 rw\n"
    (root / MOUNT_FILE.lstrip("/")).write_text(own + hosts, encoding="utf-8")

    got, notes = directories(root, "cpu")

    assert got[0] == "/sys/fs/cgroup/system.slice/hpi.slice/hpi-agent.service"
    assert notes == []


@pytest.mark.parametrize("content", ["cpu\n", "0:\n", "x::/\n", "0::relative\n", "\0\n"])
def test_a_membership_that_the_kernel_never_writes_is_refused(tmp_path: Path, content: str) -> None:
    root = host_tree(tmp_path, "container-v2-two-nodes", {MEMBERSHIP_FILE: content})

    with pytest.raises(Refused, match=r"self/cgroup says .*; expected lines such as"):
        cpu_allowance(root)


@pytest.mark.parametrize("content", ["nonsense\n", "1 2 3 - cgroup2 cgroup2 rw\n", "1 2 0:1 a b rw - cgroup2 c rw\n"])
def test_a_mount_that_the_kernel_never_writes_is_refused(tmp_path: Path, content: str) -> None:
    root = host_tree(tmp_path, "container-v2-two-nodes", {MOUNT_FILE: content})

    with pytest.raises(Refused, match=r"mountinfo says .*; expected"):
        cpu_allowance(root)


def nested_cgroup(tmp_path: Path, depth: int) -> Path:
    path = "/a" * depth
    changes = {MEMBERSHIP_FILE: f"0::{path}\n", f"/sys/fs/cgroup{path}/cpu.max": "100000 100000\n"}
    return host_tree(tmp_path, "container-v2-two-nodes", changes)


def test_cgroups_are_followed_to_the_greatest_depth(tmp_path: Path) -> None:
    root = nested_cgroup(tmp_path, MAX_DEPTH)

    assert cpu_allowance(root).whole_cores == 1


def test_cgroups_nested_deeper_are_refused(tmp_path: Path) -> None:
    root = nested_cgroup(tmp_path, MAX_DEPTH + 1)

    with pytest.raises(Refused, match=f"at most {MAX_DEPTH} deep"):
        cpu_allowance(root)


def test_a_cgroup_named_with_a_line_separator_is_found(tmp_path: Path) -> None:
    path = "/pod\u2028\x85a"
    changes = {MEMBERSHIP_FILE: f"0::{path}\n", f"/sys/fs/cgroup{path}/cpu.max": "100000 100000\n"}

    got = cpu_allowance(host_tree(tmp_path, "container-v2-two-nodes", changes))

    assert (got.whole_cores, got.bound_by, got.notes) == (1, "quota v2", ())
