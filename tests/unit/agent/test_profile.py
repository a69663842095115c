"""From facts to a hardware class."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import pytest

from hpi_agent.profile import (
    AcceleratorClass,
    Cpu,
    CpuAllowance,
    HardwareClass,
    Machine,
    Memory,
    NumaNode,
    hardware_class,
)
from hpi_core.digest import PATTERN, canonical_json

GIB = 2**30

MACHINE = Machine(
    host_root="/",
    cpu=Cpu("x86_64", "AMD", "AMD EPYC", "x86-64-v4", ("sse4_2", "avx", "avx512_bf16"), 4, 8, 8),
    allowance=CpuAllowance(4, "quota v2", tuple(range(8)), None, None, None),
    numa_nodes=(NumaNode(0, (0, 1, 2, 3)), NumaNode(1, (4, 5, 6, 7))),
    memory=Memory(64 * GIB, 8 * GIB, "/sys/fs/cgroup/memory.max"),
    notes=(),
)


def test_a_class_holds_what_moves_the_choice_of_an_engine() -> None:
    got = hardware_class(MACHINE)

    assert got == HardwareClass("x86_64", "AMD", "x86-64-v4", ("avx", "avx512_bf16", "sse4_2"), 4, 2, 8)


def test_the_canonical_json_of_a_class_is_frozen() -> None:
    assert canonical_json(hardware_class(MACHINE).to_json()) == (
        b'{"architecture":"x86_64","device":"cpu","formatVersion":1,"isaFlags":["avx","avx512_bf16","sse4_2"],'
        b'"isaLevel":"x86-64-v4","memoryGibibytes":8,"numaNodes":2,"threads":4,"vendor":"AMD"}'
    )


def test_the_digest_is_that_of_the_canonical_json() -> None:
    digest = hardware_class(MACHINE).digest

    assert PATTERN.match(digest)
    assert digest == "sha256:c680e3bd1e1470a33b26a01e21b5fc484722ffeabb1d3263d0ee3ec94c7a0d5f"


OTHERS: dict[str, Any] = {
    "architecture": "aarch64",
    "vendor": "Intel",
    "isa_level": "x86-64-v3",
    "isa_flags": ("avx",),
    "threads": 5,
    "numa_nodes": 1,
    "memory_gibibytes": None,
    "accelerator": AcceleratorClass("NVIDIA", "NVIDIA L4"),
}


@pytest.mark.parametrize("field", [field.name for field in fields(HardwareClass)])
def test_a_change_of_any_field_changes_the_digest(field: str) -> None:
    base = hardware_class(MACHINE)

    changed = replace(base, **{field: OTHERS[field]})

    assert changed.digest != base.digest


@pytest.mark.parametrize(
    "other",
    [
        pytest.param(replace(MACHINE, host_root="/host", notes=("a note",)), id="root and notes"),
        pytest.param(
            replace(MACHINE, cpu=replace(MACHINE.cpu, physical_cores=None, possible_cpus=64)), id="spare sockets"
        ),
        pytest.param(replace(MACHINE, memory=Memory(64 * GIB, 8 * GIB + 1, "/elsewhere")), id="one byte of memory"),
        pytest.param(
            replace(MACHINE, allowance=replace(MACHINE.allowance, bound_by="affinity")), id="the binding limit"
        ),
    ],
)
def test_what_does_not_move_the_choice_does_not_change_the_class(other: Machine) -> None:
    assert hardware_class(other).digest == hardware_class(MACHINE).digest


@pytest.mark.parametrize(
    ("cpus", "nodes"), [((0, 3), 1), ((3, 4), 2), ((99,), 1)], ids=["one node", "two nodes", "numbers of another view"]
)
def test_only_nodes_whose_processors_may_be_used_count(cpus: tuple[int, ...], nodes: int) -> None:
    machine = replace(MACHINE, allowance=replace(MACHINE.allowance, affinity_cpus=cpus))

    assert hardware_class(machine).numa_nodes == nodes


@pytest.mark.parametrize(("memory_bytes", "gibibytes"), [(8 * GIB, 8), (8 * GIB - 1, 7), (GIB - 1, 0), (None, None)])
def test_memory_is_rounded_down_to_gibibytes(memory_bytes: int | None, gibibytes: int | None) -> None:
    machine = replace(MACHINE, memory=Memory(memory_bytes, None, None))

    assert hardware_class(machine).memory_gibibytes == gibibytes
