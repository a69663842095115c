"""Everything about a machine in one value."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from hpi_agent.discovery.allowance import read_allowance
from hpi_agent.discovery.cgroup import read_control_groups
from hpi_agent.discovery.cpu import read_cpu
from hpi_agent.discovery.cpulist import read_cpulist
from hpi_agent.discovery.device_signs import has_ascend_sign, has_nvidia_sign
from hpi_agent.discovery.host_files import HostFiles, printable
from hpi_agent.discovery.lenient_files import LenientFiles
from hpi_agent.discovery.memory import read_memory
from hpi_agent.profile import AscendDriver, AscendNpu, Cann, Machine, NumaNode, NvidiaDriver, NvidiaGpu

DEVICE_DIRECTORY: Final = "/dev"
NODE_DIRECTORY: Final = "/sys/devices/system/node"

_NODE: Final = re.compile(r"node([0-9]{1,5})")


def detect(root: Path = Path("/")) -> Machine:
    """Return what the machine below a root path offers this process.

    What is wrong with an accelerator is a note; NVML and npu-smi are asked, each in a child process with a deadline,
    where the root is this machine's own and there is a sign of their devices.

    Args:
        root: Where the host's `/` is found. Nothing outside it is read, whatever symbolic links say. A root other than
            `/` may hold the recorded answers of the tools: `/nvml.json` and `/npu-smi.txt`.

    Raises:
        Refused: The root is no directory or describes no processor, or a file in it is not what the kernel writes.
    """
    files = HostFiles(root)
    groups = read_control_groups(files)
    allowance = read_allowance(files, groups)
    cpu = read_cpu(files, allowance.online_cpus)
    numa_nodes = read_numa_nodes(files)
    memory = read_memory(files, groups)
    lenient = LenientFiles(files)
    device_names = lenient.names(DEVICE_DIRECTORY)
    nvidia_driver, gpus = _nvidia(lenient, device_names)
    ascend_driver, cann, npus = _ascend(lenient, device_names)
    return Machine(
        host_root=printable(str(root)),
        cpu=cpu,
        allowance=allowance,
        numa_nodes=numa_nodes,
        memory=memory,
        notes=tuple(files.notes),
        nvidia_driver=nvidia_driver,
        gpus=gpus,
        ascend_driver=ascend_driver,
        cann=cann,
        npus=npus,
    )


def read_numa_nodes(files: HostFiles) -> tuple[NumaNode, ...]:
    """Return the memory nodes by number; none, with a note, when the kernel describes none.

    Raises:
        Refused: A node's list of processors holds something else.
    """
    matches = (_NODE.fullmatch(name) for name in files.names(NODE_DIRECTORY) or [])
    nodes = []
    for index in sorted(int(match[1]) for match in matches if match is not None):
        cpus = read_cpulist(files, f"{NODE_DIRECTORY}/node{index}/cpulist")
        if cpus is not None:
            nodes.append(NumaNode(index, cpus))
    if not nodes:
        files.note(f"{files.shown(NODE_DIRECTORY)} describes no NUMA node: the memory counts as one node")
    return tuple(nodes)


def _nvidia(files: LenientFiles, device_names: Sequence[str]) -> tuple[NvidiaDriver | None, tuple[NvidiaGpu, ...]]:
    if not has_nvidia_sign(files, device_names):
        return None, ()
    from hpi_agent.discovery.nvidia import read_nvidia

    return read_nvidia(files, device_names)


def _ascend(
    files: LenientFiles, device_names: Sequence[str]
) -> tuple[AscendDriver | None, Cann | None, tuple[AscendNpu, ...]]:
    if not has_ascend_sign(files, device_names):
        return None, None, ()
    from hpi_agent.discovery.ascend import read_ascend

    return read_ascend(files, device_names)
