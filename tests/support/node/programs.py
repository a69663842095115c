"""All programs of a cluster with a node: found, or built and downloaded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from support.control_plane.binaries import Binaries, find_binaries, prepare_binaries
from support.control_plane.cache import Say
from support.control_plane.recipe import KUBERNETES
from support.node.debian import DebianPrograms, debian_programs
from support.node.recipe import find_node, prepare_node

PACKAGES: Final = ("containerd", "runc", "containernetworking-plugins", "nftables")
"""Of Debian: the container runtime, the network of pods, and what kube-proxy writes its rules with."""


@dataclass(frozen=True)
class NodePrograms:
    """All that a cluster with a node runs."""

    control_plane: Binaries
    node: Mapping[str, Path]
    """kubelet, kube-proxy and `pod`."""
    debian: DebianPrograms


def find_programs(environment: Mapping[str, str], say: Say) -> NodePrograms:
    """Return the programs, without building any; those of Debian are downloaded when they are not there.

    Raises:
        Refused: This is neither Debian nor Ubuntu, or this user is not root.
        Stop: One has to be built; the text says how.
    """
    binaries = find_binaries(environment, KUBERNETES.packages)
    return NodePrograms(binaries, find_node(environment), debian_programs(PACKAGES, environment, say))


def prepare_programs(environment: Mapping[str, str], say: Say) -> NodePrograms:
    """Return the programs, built if need be.

    Raises:
        Refused: This is neither Debian nor Ubuntu, or this user is not root.
        Stop: They cannot be had.
    """
    debian = debian_programs(PACKAGES, environment, say)
    binaries = prepare_binaries(environment, say, KUBERNETES.packages)
    return NodePrograms(binaries, prepare_node(environment, say), debian)
