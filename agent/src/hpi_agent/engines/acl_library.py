"""pyACL, the Python interface of CANN's runtime: its errors in words, one device, its memory. Sole importer of acl.

Its functions take positions alone and return numbers; every one is checked here. They keep Python's interpreter lock
while they run, `acl.mdl.execute` too: another thread of this process waits as long as an inference takes.

Source:
    CANN, "acl API (Python)": `acl.init`, `acl.rt.*`, `acl.get_soc_name`, `acl.get_recent_err_msg`; the pages on
    `aclError` and `aclCANNPackageName`; argument formats in pyACL's own source (`mdl_wrap.cpp`, `rt_memory.cpp`).
"""

from __future__ import annotations

import threading
from typing import Any, Final

from numpy.typing import NDArray

from hpi_agent.engines.base import MAX_REASON_CHARACTERS
from hpi_core.errors import EngineFailed, Refused

SUCCESS: Final = 0
INITIALISED_BEFORE: Final = 100002
"""What `acl.init` returns where somebody else of this process has called it, with which one may go on."""

MEMCPY_HOST_TO_DEVICE: Final = 1
MEMCPY_DEVICE_TO_HOST: Final = 2
MALLOC_HUGE_FIRST: Final = 0
"""`ACL_MEM_MALLOC_HUGE_FIRST`: large pages, and small ones where there are none."""

WORDS: Final = {
    100000: "a parameter is wrong",
    100001: "acl is not initialised",
    100003: "the file is missing or cannot be read",
    100011: "there is no such model",
    100012: "the model cannot be read; it was made by another version of CANN",
    100013: "the model cannot be parsed; it was made by another version of CANN",
    100014: "the model file cannot be read",
    100015: "the model file has a wrong size",
    100016: "the model lacks an attribute; it was made by another version of CANN",
    100017: "the inputs do not match the model",
    100018: "the outputs do not match the model",
    100019: "the model has fixed shapes",
    107001: "there is no such device",
    107002: "the thread has no context",
    107004: "the model belongs to another context",
    145011: "the address of a dynamic input is wrong",
    145012: "the length of a dynamic input is wrong",
    145013: "the model was not made for this batch",
    145021: "the shape is wrong",
    200000: "there is not enough memory",
    207001: "there is not enough memory of the device",
    207004: "there is no device",
    207018: "the device is out of memory",
    245000: "there is not enough memory for the model",
    500000: "an internal error of CANN",
    500002: "an error of the graph engine",
    500003: "an error of the runtime",
    500004: "an error of the driver",
    507008: "the model was made for another chip",
    507011: "the model failed while it ran",
    507014: "the processing units took too long",
    507015: "the processing units met an exception",
    507018: "the processors of the device met an exception",
    507899: "an internal error of the driver",
    545001: "the model cannot be loaded",
}
"""What the codes mean that an operator meets (`acl_base.h`, `rt_error_codes.h`, `ge_error_codes.h`)."""
FAMILIES: Final = {1: "the program or the environment", 2: "a resource", 3: "an operation", 5: "software or hardware"}
"""What the first digit of six says of every other code."""

_initialising: Final = threading.Lock()


class AscendDevice:
    """One NPU and a context on it. A thread that uses what belongs to it enters the context first."""

    def __init__(self, index: int) -> None:
        """Open a context.

        Args:
            index: Number of the device among those that this process sees.

        Raises:
            Refused: There is no such device.
            EngineFailed: CANN or its driver cannot use it.
        """
        self.acl: Final = import_acl()
        self.index: Final = index
        _initialise(self.acl)
        count = self.value(self.acl.rt.get_device_count(), "acl.rt.get_device_count")
        if not 0 <= index < count:
            raise Refused(f"npu:{index} is not there: this process sees {count} NPU(s), numbered from 0")
        # Never reset: that would take the device from every other engine of this process.
        self.check(self.acl.rt.set_device(index), "acl.rt.set_device")
        self._context = self.value(self.acl.rt.create_context(index), "acl.rt.create_context")

    @property
    def chip(self) -> str:
        """Its SoC, as ATC takes it, such as `Ascend310P3`."""
        return str(self.acl.get_soc_name() or "an unknown chip")

    def enter(self) -> None:
        """Make the context that of the calling thread; a model is loaded, run and unloaded in one context."""
        self.check(self.acl.rt.set_context(self._context), "acl.rt.set_context")

    def close(self) -> None:
        """Destroy the context."""
        self.check(self.acl.rt.destroy_context(self._context), "acl.rt.destroy_context")

    def allocate(self, nbytes: int) -> int:
        """Return the address of new memory of the device.

        Raises:
            EngineFailed: There is not enough.
        """
        # No memory of no bytes is given.
        return int(
            self.value(self.acl.rt.malloc(max(nbytes, 1), MALLOC_HUGE_FIRST), f"acl.rt.malloc of {nbytes} bytes")
        )

    def free(self, address: int) -> None:
        """Give memory back."""
        self.check(self.acl.rt.free(address), "acl.rt.free")

    def copy_in(self, address: int, capacity_bytes: int, array: NDArray[Any]) -> None:
        """Copy a contiguous array to the device."""
        arguments = (address, capacity_bytes, array.ctypes.data, array.nbytes, MEMCPY_HOST_TO_DEVICE)
        self.check(self.acl.rt.memcpy(*arguments), "acl.rt.memcpy to the device")

    def copy_out(self, array: NDArray[Any], address: int) -> None:
        """Fill a contiguous array from the device."""
        if array.nbytes:
            arguments = (array.ctypes.data, array.nbytes, address, array.nbytes, MEMCPY_DEVICE_TO_HOST)
            self.check(self.acl.rt.memcpy(*arguments), "acl.rt.memcpy from the device")

    def check(self, code: int, what: str) -> None:
        """Fail unless a call succeeded.

        Args:
            code: What it returned.
            what: Its name, for the text.

        Raises:
            EngineFailed: It did not.
        """
        check(self.acl, code, what)

    def value(self, answer: tuple[Any, int], what: str) -> Any:
        """Return what a call gave beside its code; see `check`."""
        value, code = answer
        self.check(code, what)
        return value


def check(acl: Any, code: int, what: str) -> None:
    """Fail unless a call of acl succeeded.

    Raises:
        EngineFailed: It did not; the text has the code, its meaning, and what CANN itself says.
    """
    if code == SUCCESS:
        return
    # Read even when it is not told: it is kept for this thread until somebody reads it.
    said = " ".join((acl.get_recent_err_msg() or "").split())
    text = f"{what} failed with {code}, {meaning_of(code)}" + (f": {said}" if said else "")
    raise EngineFailed(text if len(text) <= MAX_REASON_CHARACTERS else text[: MAX_REASON_CHARACTERS - 1] + "…")


def meaning_of(code: int) -> str:
    """Return what an error of acl means."""
    family = FAMILIES.get(code // 100_000)
    return WORDS.get(code, "which is not documented" if family is None else f"an error of {family}")


def import_acl() -> Any:
    """Import pyACL, which lies in the folder of CANN that its `set_env.sh` puts on Python's path."""
    import acl

    return acl


def _initialise(acl: Any) -> None:
    # Never finalised: that would end acl for everybody in this process.
    with _initialising:
        code = acl.init()
    if code != INITIALISED_BEFORE:
        check(acl, code, "acl.init")
