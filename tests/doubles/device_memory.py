"""The memory of a device that nobody has here: a table of allocations with addresses that no process can have.

Fresh memory is full of a pattern, so that what was never written shows in the answer; an address that was given back,
is too small, or belongs to another device is refused as the device would refuse it.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

PATTERN: Final = 0xCD
FIRST_ADDRESS: Final = 0xD000_0000_0000_0000
"""No process has memory there on the architectures that these tests run on: a copy from it would be noticed at once."""
ALIGNMENT: Final = 512


class IllegalAddress(Exception):
    """Memory that is not there, or not that large."""


class OutOfMemory(Exception):
    """More was asked for than the device has."""


@dataclass(frozen=True)
class Allocation:
    """Memory that somebody holds."""

    address: int
    device: int
    owner: str
    bytes: NDArray[np.uint8]


class DeviceMemory:
    """All allocations of all devices of this process."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._held: dict[int, Allocation] = {}
        self._next = FIRST_ADDRESS

    def allocate(self, nbytes: int, device: int, owner: str, capacity_bytes: int) -> int:
        """Return the address of new memory.

        Raises:
            OutOfMemory: The device has less left.
        """
        with self._lock:
            if nbytes > capacity_bytes - self.used_bytes(device):
                raise OutOfMemory(f"{nbytes} bytes")
            address = self._next
            # With a gap, so that running over the end meets nobody else's memory.
            self._next += (nbytes // ALIGNMENT + 2) * ALIGNMENT
            self._held[address] = Allocation(address, device, owner, np.full(nbytes, PATTERN, dtype=np.uint8))
            return address

    def free(self, address: int, owner: str) -> None:
        """Give memory back.

        Raises:
            IllegalAddress: Nothing of that owner begins there, perhaps not any more.
        """
        with self._lock:
            if address not in self._held or self._held[address].owner != owner:
                raise IllegalAddress(hex(address))
            del self._held[address]

    def view(self, address: int, nbytes: int, device: int) -> NDArray[np.uint8]:
        """Return memory of a device.

        Raises:
            IllegalAddress: It is not all held, or another device's.
        """
        with self._lock:
            for one in self._held.values():
                start = address - one.address
                if one.device == device and start >= 0 and start + nbytes <= one.bytes.size:
                    return one.bytes[start : start + nbytes]
        raise IllegalAddress(f"{nbytes} bytes at {hex(address)} of device {device}")

    def holds(self, address: int) -> bool:
        """Return whether an address is one of a device."""
        return address >= FIRST_ADDRESS

    def used_bytes(self, device: int) -> int:
        """Return what is held of a device."""
        with self._lock:
            return sum(one.bytes.size for one in self._held.values() if one.device == device)

    @property
    def held(self) -> dict[str, int]:
        """How many allocations each owner holds; empty once all is given back."""
        with self._lock:
            owners = [one.owner for one in self._held.values()]
        return {owner: owners.count(owner) for owner in sorted(set(owners))}


def read_array(memory: NDArray[np.uint8], dtype: str, shape: tuple[int, ...]) -> NDArray[Any]:
    """Return a copy of memory as an array."""
    array: NDArray[Any] = memory.copy().view(np.dtype(dtype)).reshape(shape)
    return array
