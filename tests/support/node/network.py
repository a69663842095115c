"""The network of a node: a bridge with the node's address, and no way out."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Final

from hpi_core.errors import Stop

ADDRESS: Final = "198.18.0.1"
"""The node's address, and the gateway of its pods, of the range for tests of networks (RFC 2544)."""
PODS: Final = "198.18.0.0/24"
BRIDGE: Final = "hpi0"
FORWARDING: Final = Path("/proc/sys/net/ipv4/ip_forward")
BRIDGE_FILTER: Final = Path("/proc/sys/net/bridge/bridge-nf-call-iptables")
"""1: what goes from pod to pod passes the rules of the node too. The file is there with the kernel's br_netfilter."""


def connect(services: str) -> None:
    """Set up the network that this thread is in; it must be a new one.

    Args:
        services: Range of addresses that leads to the bridge.

    Raises:
        Stop: The kernel lacks something; the text says what was tried.
    """
    for words in (
        "link set lo up",
        f"link add {BRIDGE} type bridge",
        f"address add {ADDRESS}/{PODS.rpartition('/')[2]} dev {BRIDGE}",
        f"link set {BRIDGE} up",
        # Without a route the kernel refuses before kube-proxy's rules are asked.
        f"route add {services} dev {BRIDGE}",
    ):
        done = subprocess.run(["ip", *words.split()], capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise Stop(f"`ip {words}` failed in the network of the node: {done.stderr.strip()}")
    FORWARDING.write_text("1", encoding="ascii")
    if BRIDGE_FILTER.exists():
        BRIDGE_FILTER.write_text("1", encoding="ascii")


def bridge_is_filtered() -> bool:
    """Return whether `BRIDGE_FILTER` is on in the network that this thread is in."""
    return BRIDGE_FILTER.exists() and BRIDGE_FILTER.read_text(encoding="ascii").strip() == "1"
