"""Architecture, model, instruction sets and cores."""

from __future__ import annotations

from pathlib import Path

import pytest

from hpi_agent.discovery import detect
from hpi_agent.discovery.cpu import X86_LEVELS, isa_level
from hpi_core.errors import Refused
from support.host_trees import host_files, host_tree

SIBLINGS = "/sys/devices/system/cpu/cpu{}/topology/thread_siblings_list"


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("hybrid-v1-unlimited", ("x86_64", "AMD", "AMD EPYC", "x86-64-v4")),
        ("container-v2-two-nodes", ("x86_64", "Intel", "Intel(R) Xeon(R) Platinum 8481C CPU @ 2.70GHz", "x86-64-v4")),
        ("container-v2-aarch64", ("aarch64", "Arm", "Neoverse-V1", "sve")),
        ("host-v2-nested-aarch64", ("aarch64", "HiSilicon", "Kunpeng 920", "asimd")),
    ],
)
def test_the_processor_is_named(tmp_path: Path, host: str, expected: tuple[str, ...]) -> None:
    cpu = detect(host_tree(tmp_path, host)).cpu

    assert (cpu.architecture, cpu.vendor, cpu.model_name, cpu.isa_level) == expected


def test_amx_and_float16_of_a_xeon_are_found(tmp_path: Path) -> None:
    cpu = detect(host_tree(tmp_path, "container-v2-two-nodes")).cpu

    assert {"amx_tile", "amx_int8", "amx_bf16", "avx512_fp16", "avx512_bf16"} <= set(cpu.isa_flags)


def test_arm_features_carry_our_names(tmp_path: Path) -> None:
    cpu = detect(host_tree(tmp_path, "container-v2-aarch64")).cpu

    assert cpu.isa_flags == ("asimd", "asimddp", "fp16", "sve", "bf16", "i8mm")


def test_a_flag_that_one_processor_lacks_does_not_count(tmp_path: Path) -> None:
    text = host_files("hybrid-v1-unlimited")["/proc/cpuinfo"].replace(" avx512_bf16", "", 1)

    cpu = detect(host_tree(tmp_path, "hybrid-v1-unlimited", {"/proc/cpuinfo": text})).cpu

    assert "avx512_bf16" not in cpu.isa_flags
    assert "avx512_vnni" in cpu.isa_flags


@pytest.mark.parametrize(
    ("host", "cores"),
    [("hybrid-v1-unlimited", (2, 2)), ("container-v2-two-nodes", (4, 8)), ("container-v2-aarch64", (4, 4))],
)
def test_threads_of_one_core_count_as_one_physical_core(tmp_path: Path, host: str, cores: tuple[int, int]) -> None:
    cpu = detect(host_tree(tmp_path, host)).cpu

    assert (cpu.physical_cores, cpu.logical_cpus) == cores


def test_without_topology_in_sys_the_core_numbers_of_cpuinfo_count(tmp_path: Path) -> None:
    changes = {SIBLINGS.format(cpu): None for cpu in range(8)}

    cpu = detect(host_tree(tmp_path, "container-v2-two-nodes", changes)).cpu

    assert cpu.physical_cores == 4


def test_without_any_topology_physical_cores_are_not_known_and_that_is_said(tmp_path: Path) -> None:
    machine = detect(host_tree(tmp_path, "container-v2-aarch64", {SIBLINGS.format(0): None}))

    assert machine.cpu.physical_cores is None
    assert any("physical cores are not known" in note for note in machine.notes)


def test_another_architecture_is_a_value_and_a_note(tmp_path: Path) -> None:
    power = "processor\t: 0\ncpu\t\t: POWER9\n\nprocessor\t: 1\ncpu\t\t: POWER9\n\n"

    machine = detect(host_tree(tmp_path, "hybrid-v1-unlimited", {"/proc/cpuinfo": power}))

    assert (machine.cpu.architecture, machine.cpu.isa_level, machine.cpu.isa_flags) == (None, None, ())
    assert any("neither x86_64 nor aarch64" in note for note in machine.notes)


def test_a_missing_cpuinfo_leaves_the_model_unknown_and_says_so(tmp_path: Path) -> None:
    machine = detect(host_tree(tmp_path, "hybrid-v1-unlimited", {"/proc/cpuinfo": None}))

    assert (machine.cpu.architecture, machine.cpu.vendor, machine.allowance.whole_cores) == (None, None, 2)
    assert any("architecture and processor model are not known" in note for note in machine.notes)


@pytest.mark.parametrize("content", ["", "hello", "\x00\xff" * 50])
def test_a_cpuinfo_without_processors_is_refused(tmp_path: Path, content: str) -> None:
    with pytest.raises(Refused, match=r"cpuinfo says .*; expected lines such as 'processor : 0'"):
        detect(host_tree(tmp_path, "hybrid-v1-unlimited", {"/proc/cpuinfo": content}))


def test_a_model_name_cannot_command_the_terminal(tmp_path: Path) -> None:
    text = host_files("hybrid-v1-unlimited")["/proc/cpuinfo"].replace("AMD EPYC", "\x1b[31mEPYC\u202e")

    cpu = detect(host_tree(tmp_path, "hybrid-v1-unlimited", {"/proc/cpuinfo": text})).cpu

    assert cpu.model_name == r"\x1b[31mEPYC\u202e"


def test_each_level_needs_all_features_of_the_levels_below() -> None:
    everything = frozenset[str]().union(*(needed for _, needed in X86_LEVELS))

    assert isa_level("x86_64", everything) == "x86-64-v4"
    assert isa_level("x86_64", everything - {"avx512bw"}) == "x86-64-v3"
    assert isa_level("x86_64", everything - {"movbe"}) == "x86-64-v2"
    assert isa_level("x86_64", everything - {"popcnt"}) == "x86-64-v1"
