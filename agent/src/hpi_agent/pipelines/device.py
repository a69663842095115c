"""PaddleX's word for what computes: `cpu`, `gpu:0`, `npu:1`; pure."""

from __future__ import annotations

from typing import Final

from hpi_agent.engines.base import CPU, Device
from hpi_core.errors import Refused
from hpi_core.formats import DEVICE_KINDS, DeviceKind
from hpi_core.spelling import did_you_mean

FORMS: Final = "cpu, gpu:N or npu:N"
NOT_SERVED: Final = ("xpu", "mlu", "gcu", "dcu", "iluvatar_gpu", "metax_gpu")
"""Devices of PaddleX 3.7.2 that no runtime here computes on."""


def read_device(written: str | None) -> Device:
    """Return the device that a manifest asks for; absent, the processors; without a number, the first.

    Whether the machine has it is not asked here.

    Raises:
        Refused: It is not one device of a kind that is served; the text begins with what it must be.
    """
    if written is None:
        return CPU
    name, _, numbers = written.partition(":")
    kinds: dict[str, DeviceKind] = {kind: kind for kind in DEVICE_KINDS}
    if name not in kinds:
        hint = "; no runtime here computes on it" if name in NOT_SERVED else did_you_mean(name, list(kinds), [])
        raise Refused(f"must be {FORMS}, got {written!r}{hint}")
    if "," in numbers:
        first = numbers.partition(",")[0]
        raise Refused(
            f"must be one device, got {written!r}: a server has one worker and a pipeline one device; write "
            f"{name}:{first} and start a server for each of the others"
        )
    if name == "cpu" and numbers:
        raise Refused(f"must be 'cpu' without a number, got {written!r}: the processors are one device")
    if numbers and not numbers.isdecimal():
        raise Refused(f"must be {FORMS}, got {written!r}")
    return Device(kinds[name], int(numbers or 0))
