"""NUMA nodes, memory, and the machine as a whole."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from hpi_agent.discovery import detect
from hpi_agent.discovery.device_signs import has_ascend_sign, has_nvidia_sign
from hpi_agent.discovery.host_files import HostFiles
from hpi_agent.discovery.lenient_files import LenientFiles
from hpi_agent.profile import NumaNode
from hpi_core.errors import Refused
from support.host_trees import host_tree

GIB = 2**30
V1_LIMIT = "/sys/fs/cgroup/memory/memory.limit_in_bytes"
V2_LIMIT = "/sys/fs/cgroup/memory.max"


@pytest.mark.parametrize(
    ("host", "limit_bytes"),
    [
        pytest.param("hybrid-v1-unlimited", None, id="v1, the kernel's number for no limit"),
        pytest.param("container-v1-combined", 8 * GIB, id="v1"),
        pytest.param("container-v2-two-nodes", 8 * GIB, id="v2"),
        pytest.param("container-v2-aarch64", None, id="v2, max"),
        pytest.param("host-v2-nested-aarch64", 8 * GIB, id="v2, the ancestor's limit is tighter"),
    ],
)
def test_the_tightest_memory_limit_is_found(tmp_path: Path, host: str, limit_bytes: int | None) -> None:
    memory = detect(host_tree(tmp_path, host)).memory

    assert memory.limit_bytes == limit_bytes


@pytest.mark.parametrize(
    ("content", "limit_bytes"),
    [
        ("9223372036854771712\n", None),
        ("9223372036854710272\n", None),
        ("9223372036854775807\n", None),
        ("9223372036854710271\n", 9223372036854710271),
        ("0\n", 0),
    ],
)
def test_a_version_1_limit_of_the_largest_whole_page_means_none(
    tmp_path: Path, content: str, limit_bytes: int | None
) -> None:
    memory = detect(host_tree(tmp_path, "container-v1-combined", {V1_LIMIT: content})).memory

    assert memory.limit_bytes == limit_bytes


def test_available_memory_is_the_limit_when_that_is_smaller(tmp_path: Path) -> None:
    memory = detect(host_tree(tmp_path, "container-v2-two-nodes")).memory

    assert (memory.total_bytes, memory.available_bytes) == (65805324 * 1024, 8 * GIB)


def test_available_memory_is_the_total_when_the_limit_is_larger(tmp_path: Path) -> None:
    memory = detect(host_tree(tmp_path, "container-v2-two-nodes", {V2_LIMIT: f"{100 * GIB}\n"})).memory

    assert (memory.limit_bytes, memory.available_bytes) == (100 * GIB, 65805324 * 1024)


def test_a_missing_meminfo_leaves_the_limit_as_what_is_available(tmp_path: Path) -> None:
    machine = detect(host_tree(tmp_path, "container-v2-two-nodes", {"/proc/meminfo": None}))

    assert (machine.memory.total_bytes, machine.memory.available_bytes) == (None, 8 * GIB)
    assert any("size of the memory is not known" in note for note in machine.notes)


@pytest.mark.parametrize(
    ("host", "path", "content"),
    [
        ("container-v2-two-nodes", V2_LIMIT, "8Gi"),
        ("container-v2-two-nodes", V2_LIMIT, "-1"),
        ("container-v1-combined", V1_LIMIT, "max"),
        ("container-v1-combined", V1_LIMIT, ""),
        ("container-v1-combined", "/proc/meminfo", "MemTotal: lots\n"),
        ("container-v1-combined", "/sys/devices/system/node/node0/cpulist", "all\n"),
        ("container-v1-combined", "/sys/devices/system/cpu/possible", "x\n"),
    ],
)
def test_content_that_the_kernel_never_writes_is_refused_by_name(
    tmp_path: Path, host: str, path: str, content: str
) -> None:
    root = host_tree(tmp_path, host, {path: content})

    with pytest.raises(Refused) as caught:
        detect(root)

    assert f"{root}{path} says '{content.strip()}'; expected " in str(caught.value)


def test_numa_nodes_come_in_order_with_their_processors(tmp_path: Path) -> None:
    changes = {f"/sys/devices/system/node/node{index}/cpulist": "\n" for index in (2, 10)}

    machine = detect(host_tree(tmp_path, "container-v2-two-nodes", changes))

    assert machine.numa_nodes == (
        NumaNode(0, (0, 1, 2, 3)),
        NumaNode(1, (4, 5, 6, 7)),
        NumaNode(2, ()),
        NumaNode(10, ()),
    )


def test_a_kernel_without_numa_has_no_nodes_and_that_is_said(tmp_path: Path) -> None:
    machine = detect(host_tree(tmp_path, "hybrid-v1-unlimited", {"/sys/devices/system/node/node0/cpulist": None}))

    assert machine.numa_nodes == ()
    assert any("describes no NUMA node" in note for note in machine.notes)


def test_an_empty_root_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="describes a processor; name a host root"):
        detect(tmp_path)


def test_this_very_machine_is_detected() -> None:
    machine = detect(Path("/"))

    assert 1 <= machine.allowance.whole_cores <= machine.cpu.logical_cpus


def test_a_machine_without_devices_starts_no_child_and_loads_nothing_that_could(tmp_path: Path) -> None:
    root = host_tree(tmp_path, "container-v2-two-nodes")
    program = (
        "import sys; from pathlib import Path; from hpi_agent.discovery import detect; detect(Path(sys.argv[1])); "
        "print([name for name in ('subprocess', 'hpi_agent.discovery.nvidia', 'hpi_agent.discovery.ascend') "
        "if name in sys.modules])"
    )

    result = subprocess.run([sys.executable, "-c", program, str(root)], capture_output=True, check=True, text=True)

    assert result.stdout == "[]\n"


@pytest.mark.parametrize(
    ("path", "sign"),
    [
        ("/dev/nvidia0", "nvidia"),
        ("/proc/driver/nvidia/version", "nvidia"),
        ("/sys/module/nvidia/version", "nvidia"),
        ("/usr/lib64/libnvidia-ml.so.1", "nvidia"),
        ("/usr/lib/wsl/lib/libnvidia-ml.so.1", "nvidia"),
        ("/dev/davinci7", "ascend"),
        ("/dev/davinci_manager", "ascend"),
        ("/usr/local/Ascend/driver/version.info", "ascend"),
        ("/etc/ascend_install.info", "ascend"),
        ("/dev/null", None),
    ],
)
def test_each_sign_of_devices_is_followed_up(tmp_path: Path, path: str, sign: str | None) -> None:
    files = LenientFiles(HostFiles(host_tree(tmp_path, "container-v2-two-nodes", {path: ""})))
    names = files.names("/dev")

    assert has_nvidia_sign(files, names) is (sign == "nvidia")
    assert has_ascend_sign(files, names) is (sign == "ascend")
