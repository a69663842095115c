"""The functions of `acl` itself that the engine calls. All take positions alone, as pyACL parses them."""

from __future__ import annotations

from typing import Any

from doubles.npus import MACHINE

ACL_ERROR_INVALID_PARAM = 100000
ACL_ERROR_UNINITIALIZE = 100001
ACL_ERROR_REPEAT_INITIALIZE = 100002


class DataBuffer:
    """Memory that a dataset may have."""

    def __init__(self, address: int, size: int) -> None:
        self.address, self.size = address, size


def init(config_path: str = "", /) -> int:
    number(0)
    assert isinstance(config_path, str)
    MACHINE.initialised += 1
    return 0 if MACHINE.initialised == 1 else failed(ACL_ERROR_REPEAT_INITIALIZE, "repeatedly initialized")


def get_soc_name() -> str | None:
    return MACHINE.chip


def get_recent_err_msg() -> str:
    return MACHINE.said


def create_data_buffer(data: int, size: int, /) -> int:
    return MACHINE.keep(DataBuffer(number(data), number(size)))


def destroy_data_buffer(data_buffer: int, /) -> int:
    MACHINE.drop(number(data_buffer), DataBuffer)
    return 0


def failed(code: int, text: str) -> int:
    """Have the thread told what went wrong, and return the code."""
    MACHINE.said = f"EE9999: Inner Error!\n        {text}"
    return code


def number(given: Any) -> int:
    """Return an argument that pyACL parses as a number.

    Raises:
        TypeError: It is none.
    """
    if not isinstance(given, int) or isinstance(given, bool):
        raise TypeError(f"an integer is required (got type {type(given).__name__})")
    return given
