"""`hpi-agent detect`: what this machine offers, as a table for people or as JSON or YAML for programs.

JSON and YAML have one schema. Fields are added to it, never renamed; `null` means "not known" or "no limit", as said.

    formatVersion               1
    hostRoot                    the root path that was read
    cpu.architecture            x86_64 | aarch64 | null: neither
    cpu.vendor, cpu.modelName   null: not known
    cpu.isaLevel                x86-64-v1 ... x86-64-v4, or asimd | sve | sve2; null: not known
    cpu.isaFlags                list of the features that engines make use of
    cpu.physicalCores           null: not known
    cpu.logicalCpus             processors online (hardware threads)
    cpu.possibleCpus            processors that may ever be online; null: not known
    allowance.wholeCores        threads of one inference: cores this process may keep busy, at least 1
    allowance.boundBy           online | cpuset | affinity | quota v1 | quota v2: the limit that decides wholeCores
    allowance.quotaMillicores   tightest CPU quota, rounded down; null: no quota
    allowance.quotaMicroseconds, quotaPeriodMicroseconds, quotaFile     the same, exactly, and where it was read
    allowance.onlineCpus, cpusetCpus, affinityCpus                      lists such as "0-3,8"; null: not known
    numaNodes[].node, .cpus     number of the node and its list of processors
    memory.memoryTotalBytes     null: not known
    memory.memoryLimitBytes     tightest cgroup limit; null: no limit
    memory.memoryLimitFile      where it was read
    memory.memoryAvailableBytes the smaller of both; null: not known
    nvidiaDriver                null: no sign of one
    nvidiaDriver.version        of the kernel module; null: not loaded
    nvidiaDriver.libraryVersion of libnvidia-ml.so.1; null: no library, or not known
    nvidiaDriver.cudaVersion    newest CUDA it serves, such as 12.4; null: not known
    gpus[]                      NVIDIA GPUs that this process may see: index as NVML counts, product, uuid, pciBusId,
                                computeCapability, memoryBytes, migEnabled, fault (why it cannot compute); null: not
                                known, for migEnabled also: no such mode, for fault: none
    gpus[].migSlices[]          index, profile such as 1g.10gb, uuid, memoryBytes
    ascendDriver                null: no sign of one
    ascendDriver.version, firmwareVersion                               null: not known
    cann                        null: not found
    cann.version, .package, .directory                                  package is toolkit | nnrt | nnae
    npus[]                      Ascend NPUs that this process may see: index, chip (the SoC version as ATC takes it),
                                deviceNumber (N of /dev/davinciN), card, cardChip, pciBusId, memoryBytes, memoryKind
                                (HBM | DDR), health, template (of a vNPU, else null), fault
    devices[]                   what may be asked for beside cpu: device (gpu:0, npu:0; a slice is a device), uuid (what
                                CUDA_VISIBLE_DEVICES takes, null for NPUs), hardwareClass, hardwareClassDigest, or in
                                unclassed why it has no class
    hardwareClass               of the processors: what measured decisions are remembered under
                                (`hpi_agent.profile.HardwareClass`)
    hardwareClassDigest         sha256:<hex> of its canonical JSON
    notes                       sentences on what could not be read or is unusual
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import IO, Any, Final

from hpi_agent.commands.detect_devices import class_rows, device_rows, devices_document
from hpi_agent.discovery import detect
from hpi_agent.discovery.cpulist import format_cpulist
from hpi_agent.profile import CpuAllowance, Machine, Memory, hardware_class

FORMAT_VERSION: Final = 1
UNWRAPPED_COLUMNS: Final = 100_000
"""Width of the table when nobody looks at it: wide enough that no line is ever folded."""


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the parser of `detect`."""
    parser = subparsers.add_parser(
        "detect",
        help="show what this machine offers: processors, cores left by limits, memory, GPUs and NPUs",
        description="Show what this machine offers an inference engine: processors and instruction sets, the whole "
        "cores that quota, CPU set and affinity leave, NUMA nodes, memory, NVIDIA GPUs and Ascend NPUs with their "
        "drivers. Nothing is changed.",
    )
    parser.add_argument(
        "--host-root",
        type=Path,
        default=Path("/"),
        metavar="DIR",
        help="directory where the host's / is found (default: /)",
    )
    parser.add_argument(
        "-o", "--output", choices=("table", "json", "yaml"), default="table", help="form of the answer (default: table)"
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Detect and print; return exit status 0.

    Raises:
        Refused: The host root is unusable.
    """
    machine = detect(arguments.host_root)
    if arguments.output == "json":
        print(json.dumps(document(machine), indent=2))
    elif arguments.output == "yaml":
        import yaml

        print(yaml.safe_dump(document(machine), sort_keys=False, width=120), end="")
    else:
        print_table(machine, sys.stdout)
    return 0


def document(machine: Machine) -> dict[str, Any]:
    """Return the facts in the schema of this module's docstring."""
    kind = hardware_class(machine)
    return {
        "formatVersion": FORMAT_VERSION,
        "hostRoot": machine.host_root,
        "cpu": {
            "architecture": machine.cpu.architecture,
            "vendor": machine.cpu.vendor,
            "modelName": machine.cpu.model_name,
            "isaLevel": machine.cpu.isa_level,
            "isaFlags": list(machine.cpu.isa_flags),
            "physicalCores": machine.cpu.physical_cores,
            "logicalCpus": machine.cpu.logical_cpus,
            "possibleCpus": machine.cpu.possible_cpus,
        },
        "allowance": _allowance_document(machine.allowance),
        "numaNodes": [{"node": node.index, "cpus": format_cpulist(node.cpus)} for node in machine.numa_nodes],
        "memory": {
            "memoryTotalBytes": machine.memory.total_bytes,
            "memoryLimitBytes": machine.memory.limit_bytes,
            "memoryLimitFile": machine.memory.limit_file,
            "memoryAvailableBytes": machine.memory.available_bytes,
        },
        **devices_document(machine),
        "hardwareClass": kind.to_json(),
        "hardwareClassDigest": kind.digest,
        "notes": list(machine.notes),
    }


def print_table(machine: Machine, stream: IO[str]) -> None:
    """Print the facts for people: folded to a terminal's width, one line per row and no colour elsewhere."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(file=stream, width=None if stream.isatty() else UNWRAPPED_COLUMNS, highlight=False, emoji=False)
    table = Table.grid(padding=(0, 3))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for label, value in rows(machine):
        table.add_row(Text(label), Text(value))
    with console.capture() as captured:
        console.print(table)
        for sentence in machine.notes:
            console.print(Text(f"note: {sentence}"))
    for line in captured.get().splitlines():
        print(line.rstrip(), file=stream)


def rows(machine: Machine) -> list[tuple[str, str]]:
    """Return label and value of every line of the table, in plain ASCII."""
    cpu, allowance = machine.cpu, machine.allowance
    return [
        ("Processor", f"{cpu.model_name or 'unknown model'} ({cpu.vendor or 'unknown vendor'})"),
        ("Architecture", f"{cpu.architecture or 'unknown'} ({cpu.isa_level or 'unknown level'})"),
        ("Instruction sets", " ".join(cpu.isa_flags) or "none that engines make use of"),
        ("Cores", f"{_known(cpu.physical_cores)} physical, {cpu.logical_cpus} logical online"),
        ("Whole cores left", f"{allowance.whole_cores}, {_why(allowance)}"),
        ("CPU quota", _quota_text(allowance)),
        ("NUMA nodes", _nodes_text(machine)),
        ("Memory", _size(machine.memory.total_bytes)),
        ("Memory limit", _limit_text(machine.memory)),
        *device_rows(machine),
        ("Hardware class", hardware_class(machine).digest),
        *class_rows(machine),
    ]


def _allowance_document(allowance: CpuAllowance) -> dict[str, Any]:
    quota = allowance.quota
    return {
        "wholeCores": allowance.whole_cores,
        "boundBy": allowance.bound_by,
        "quotaMillicores": None if quota is None else quota.millicores,
        "quotaMicroseconds": None if quota is None else quota.quota_microseconds,
        "quotaPeriodMicroseconds": None if quota is None else quota.period_microseconds,
        "quotaFile": None if quota is None else quota.file,
        "onlineCpus": format_cpulist(allowance.online_cpus),
        "cpusetCpus": _list_or_none(allowance.cpuset_cpus),
        "affinityCpus": _list_or_none(allowance.affinity_cpus),
    }


def _list_or_none(cpus: Iterable[int] | None) -> str | None:
    return None if cpus is None else format_cpulist(cpus)


def _why(allowance: CpuAllowance) -> str:
    if allowance.bound_by == "online":
        return f"all that are online (CPUs {format_cpulist(allowance.online_cpus)})"
    if allowance.bound_by == "cpuset":
        return f"bound by the cgroup's CPU set (CPUs {format_cpulist(allowance.cpuset_cpus or ())})"
    if allowance.bound_by == "affinity":
        return f"bound by the affinity mask (CPUs {format_cpulist(allowance.affinity_cpus or ())})"
    return f"bound by the CPU quota (cgroup {allowance.bound_by.split()[1]})"


def _quota_text(allowance: CpuAllowance) -> str:
    quota = allowance.quota
    if quota is None:
        return "none"
    return (
        f"{quota.millicores}m ({quota.quota_microseconds} of every {quota.period_microseconds} microseconds), "
        f"in {quota.file}"
    )


def _nodes_text(machine: Machine) -> str:
    described = [f"node {node.index}: CPUs {format_cpulist(node.cpus) or 'none'}" for node in machine.numa_nodes]
    return f"{len(described)} ({'; '.join(described)})" if described else "not described"


def _limit_text(memory: Memory) -> str:
    return "none" if memory.limit_bytes is None else f"{_size(memory.limit_bytes)}, in {memory.limit_file}"


def _size(size_bytes: int | None) -> str:
    return "unknown" if size_bytes is None else f"{size_bytes / 2**30:.2f} GiB"


def _known(number: int | None) -> str:
    return "unknown" if number is None else str(number)
