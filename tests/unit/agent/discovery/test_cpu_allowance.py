"""The whole cores left to a process, and the limit that decides."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpi_agent.discovery import cpu_allowance
from hpi_agent.discovery.allowance import bind_cores
from hpi_agent.profile import CpuQuota
from hpi_core.errors import Refused
from support.host_trees import host_tree

CGROUP = "/sys/fs/cgroup"
V1_QUOTA = f"{CGROUP}/cpu,cpuacct/cpu.cfs_quota_us"


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        pytest.param("hybrid-v1-unlimited", (2, "online", None), id="hybrid, quota -1"),
        pytest.param(
            "hybrid-v1-quota-in-ancestor", (1, "quota v1", 1500), id="v1 quota of the parent, none of its own"
        ),
        pytest.param("container-v1-combined", (3, "quota v1", 3000), id="v1, cpu,cpuacct, mount root is the cgroup"),
        pytest.param("container-v2-two-nodes", (2, "quota v2", 2000), id="v2, cgroup namespace"),
        pytest.param("container-v2-aarch64", (1, "quota v2", 1500), id="v2, fractional quota on aarch64"),
        pytest.param("host-v2-nested-aarch64", (3, "quota v2", 3000), id="v2, tighter quota of an ancestor"),
    ],
)
def test_a_recorded_host_leaves_the_cores_of_its_tightest_limit(
    tmp_path: Path, host: str, expected: tuple[int, str, int | None]
) -> None:
    root = host_tree(tmp_path, host)

    got = cpu_allowance(root)

    assert (got.whole_cores, got.bound_by, got.quota and got.quota.millicores) == expected


@pytest.mark.parametrize(
    ("content", "cores", "bound_by"),
    [
        ("max 100000\n", 8, "online"),
        ("800000 100000\n", 8, "online"),
        ("799999 100000\n", 7, "quota v2"),
        ("100000 50000\n", 2, "quota v2"),
        ("100000 100000\n", 1, "quota v2"),
        ("99999 100000\n", 1, "quota v2"),
        ("1000 1000000\n", 1, "quota v2"),
    ],
)
def test_a_version_2_quota_leaves_its_whole_cores_but_at_least_one(
    tmp_path: Path, content: str, cores: int, bound_by: str
) -> None:
    root = host_tree(tmp_path, "container-v2-two-nodes", {f"{CGROUP}/cpu.max": content})

    got = cpu_allowance(root)

    assert (got.whole_cores, got.bound_by) == (cores, bound_by)


def test_a_quota_below_one_core_is_used_as_one_thread_and_said(tmp_path: Path) -> None:
    root = host_tree(tmp_path, "container-v2-two-nodes", {f"{CGROUP}/cpu.max": "50000 100000\n"})

    got = cpu_allowance(root)

    assert (got.whole_cores, got.quota and got.quota.millicores) == (1, 500)
    assert any("500m" in note and "less than one core" in note for note in got.notes)


def test_a_quota_that_is_not_whole_is_said(tmp_path: Path) -> None:
    got = cpu_allowance(host_tree(tmp_path, "container-v2-aarch64"))

    assert any("1500m" in note and "no whole number of cores" in note for note in got.notes)


@pytest.mark.parametrize("host", ["hybrid-v1-unlimited", "container-v1-combined", "container-v2-two-nodes"])
def test_an_ordinary_host_has_no_notes(tmp_path: Path, host: str) -> None:
    assert cpu_allowance(host_tree(tmp_path, host)).notes == ()


def test_the_quota_names_the_file_of_the_ancestor_that_set_it(tmp_path: Path) -> None:
    root = host_tree(tmp_path, "host-v2-nested-aarch64")

    quota = cpu_allowance(root).quota

    assert quota is not None
    assert quota.file == f"{root}/sys/fs/cgroup/system.slice/hpi.slice/cpu.max"


def test_a_cpu_set_smaller_than_the_quota_decides(tmp_path: Path) -> None:
    changes = {f"{CGROUP}/cpuset.cpus.effective": "4\n", "/proc/self/status": "Cpus_allowed_list:\t4\n"}

    got = cpu_allowance(host_tree(tmp_path, "container-v2-two-nodes", changes))

    assert (got.whole_cores, got.bound_by) == (1, "cpuset")


def test_an_affinity_mask_smaller_than_cpu_set_and_quota_decides(tmp_path: Path) -> None:
    root = host_tree(tmp_path, "container-v1-combined", {"/proc/self/status": "Cpus_allowed_list:\t0,7\n"})

    got = cpu_allowance(root)

    assert (got.whole_cores, got.bound_by, sorted(got.usable_cpus)) == (2, "affinity", [0, 7])


def test_an_affinity_mask_wider_than_the_machine_does_not_count(tmp_path: Path) -> None:
    root = host_tree(tmp_path, "hybrid-v1-unlimited", {"/proc/self/status": "Cpus_allowed_list:\t0-127\n"})

    got = cpu_allowance(root)

    assert (got.whole_cores, got.bound_by) == (2, "online")


def test_masks_that_number_processors_differently_count_by_size_and_say_so(tmp_path: Path) -> None:
    root = host_tree(tmp_path, "hybrid-v1-unlimited", {"/proc/self/status": "Cpus_allowed_list:\t9\n"})

    got = cpu_allowance(root)

    assert (got.whole_cores, got.bound_by) == (1, "affinity")
    assert any("affinity mask names no processor that is online" in note for note in got.notes)


@pytest.mark.parametrize(
    ("missing", "said"),
    [
        ("/proc/self/status", "affinity mask is not known"),
        ("/proc/self/cgroup", "limits set by cgroups are not known"),
        ("/sys/devices/system/cpu/online", "they are counted in"),
    ],
)
def test_a_missing_file_is_a_note_and_the_rest_still_counts(tmp_path: Path, missing: str, said: str) -> None:
    got = cpu_allowance(host_tree(tmp_path, "hybrid-v1-unlimited", {missing: None}))

    assert got.whole_cores == 2
    assert any(said in note for note in got.notes)


def test_a_host_without_any_description_of_processors_is_refused(tmp_path: Path) -> None:
    changes = {"/sys/devices/system/cpu/online": None, "/proc/cpuinfo": None}

    with pytest.raises(Refused, match=r"neither .*cpu/online nor .*cpuinfo describes a processor"):
        cpu_allowance(host_tree(tmp_path, "hybrid-v1-unlimited", changes))


@pytest.mark.parametrize("content", ["", "max", "0 100000", "100000 0", "-1 100000", "1e5 100000", "9" * 5000])
def test_a_version_2_quota_that_the_kernel_never_writes_is_refused_by_name(tmp_path: Path, content: str) -> None:
    root = host_tree(tmp_path, "container-v2-two-nodes", {f"{CGROUP}/cpu.max": content})

    with pytest.raises(Refused, match=r"cpu\.max says .*; expected a quota \(or max\) and a period"):
        cpu_allowance(root)


@pytest.mark.parametrize("content", ["", "max", "0", "-2", "1.5", "many"])
def test_a_version_1_quota_that_the_kernel_never_writes_is_refused_by_name(tmp_path: Path, content: str) -> None:
    root = host_tree(tmp_path, "container-v1-combined", {V1_QUOTA: content})

    with pytest.raises(Refused, match=r"cfs_quota_us says .*; expected a quota in microseconds"):
        cpu_allowance(root)


@pytest.mark.parametrize("content", [None, "0", "-100000", "x"])
def test_a_version_1_quota_without_a_good_period_is_refused(tmp_path: Path, content: str | None) -> None:
    changes = {V1_QUOTA.replace("quota", "period"): content}

    with pytest.raises(Refused, match=r"cfs_period_us says .*; expected a period"):
        cpu_allowance(host_tree(tmp_path, "container-v1-combined", changes))


@pytest.mark.parametrize("line", ["Cpus_allowed_list:\t", "Cpus_allowed_list:\tall", "Cpus_allowed_list:\t3-1"])
def test_an_affinity_mask_that_the_kernel_never_writes_is_refused(tmp_path: Path, line: str) -> None:
    root = host_tree(tmp_path, "hybrid-v1-unlimited", {"/proc/self/status": line + "\n"})

    with pytest.raises(Refused, match="Cpus_allowed_list"):
        cpu_allowance(root)


sizes = st.integers(1, 512)
quotas = st.builds(CpuQuota, st.sampled_from([1, 2]), st.integers(1, 10**9), st.integers(1, 10**6), st.just("file"))


@given(sizes, st.none() | sizes, st.none() | sizes, st.none() | quotas)
def test_whole_cores_is_the_smallest_limit_and_its_name_is_that_of_one_that_small(
    online: int, cpuset: int | None, affinity: int | None, quota: CpuQuota | None
) -> None:
    cores, bound_by = bind_cores(online, cpuset, affinity, quota)

    by_quota = None if quota is None else max(1, quota.quota_microseconds // quota.period_microseconds)
    limits = {"online": online, "cpuset": cpuset, "affinity": affinity, "quota v1": by_quota, "quota v2": by_quota}
    assert cores == min(limit for limit in limits.values() if limit is not None) >= 1
    assert limits[bound_by] == cores


@given(sizes, quotas)
def test_the_threads_never_ask_for_more_than_the_quota_pays_unless_it_is_below_one_core(
    online: int, quota: CpuQuota
) -> None:
    cores, _ = bind_cores(online, None, None, quota)

    assert cores == 1 or cores * quota.period_microseconds <= quota.quota_microseconds
