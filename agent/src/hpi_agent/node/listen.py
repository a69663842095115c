"""The address on which pods reach their node's agent."""

from __future__ import annotations

import socket
from typing import Final

from hpi_core.errors import Stop

BACKLOG: Final = 128


def listen(host: str, port: int) -> socket.socket:
    """Return a listening socket.

    Raises:
        Stop: The address cannot be used.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=BACKLOG)
    except (OSError, OverflowError) as error:
        raise Stop(
            f"cannot listen on {host} port {port}: {error}; an agent that ran here may not have ended yet, else choose "
            "another with --host and --port"
        ) from error
