"""Ports that nobody else is given before the program that they are for has bound them."""

from __future__ import annotations

import socket
from typing import Final

LOOPBACK: Final = "127.0.0.1"


class ReservedPort:
    """A free TCP port, bound but not listened on, for as long as this is open.

    With `SO_REUSEPORT` a program of the same user that sets it too (`--permit-port-sharing` of every Kubernetes server)
    binds the same port, and everyone else is refused. To close the port and hope would lose it to another test.
    """

    def __init__(self, address: str = LOOPBACK) -> None:
        """Let the kernel choose a port of an address."""
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        try:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            self._socket.bind((address, 0))
        except BaseException:
            self._socket.close()
            raise
        self.number: int = self._socket.getsockname()[1]

    def close(self) -> None:
        """Give the port back; a second call does nothing."""
        self._socket.close()
