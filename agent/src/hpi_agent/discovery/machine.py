"""Everything about a machine in one value."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from hpi_agent.discovery.allowance import read_allowance
from hpi_agent.discovery.cgroup import read_control_groups
from hpi_agent.discovery.cpu import read_cpu
from hpi_agent.discovery.cpulist import read_cpulist
from hpi_agent.discovery.host_files import HostFiles, printable
from hpi_agent.discovery.memory import read_memory
from hpi_agent.profile import Machine, NumaNode

NODE_DIRECTORY: Final = "/sys/devices/system/node"

_NODE: Final = re.compile(r"node([0-9]{1,5})")


def detect(root: Path = Path("/")) -> Machine:
    """Return what the machine below a root path offers this process.

    Args:
        root: Where the host's `/` is found. Nothing outside it is read, whatever symbolic links say.

    Raises:
        Refused: The root is no directory or describes no processor, or a file in it is not what the kernel writes.
    """
    files = HostFiles(root)
    groups = read_control_groups(files)
    allowance = read_allowance(files, groups)
    cpu = read_cpu(files, allowance.online_cpus)
    numa_nodes = read_numa_nodes(files)
    memory = read_memory(files, groups)
    return Machine(printable(str(root)), cpu, allowance, numa_nodes, memory, tuple(files.notes))


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
