"""How a process comes to the device that a manifest asks for: what it may see, and which number that has then; pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from hpi_agent.engines.base import CPU, Device
from hpi_agent.profile import AscendNpu, Machine, NvidiaGpu, gpu_parts, usable_npus
from hpi_core.errors import Refused

CUDA_VISIBLE: Final = "CUDA_VISIBLE_DEVICES"
CUDA_ORDER: Final = "CUDA_DEVICE_ORDER"
BY_ADDRESS: Final = "PCI_BUS_ID"
ASCEND_VISIBLE: Final = "ASCEND_RT_VISIBLE_DEVICES"


@dataclass(frozen=True)
class DeviceAccess:
    """How a process comes to a device."""

    device: Device = CPU
    """What engines are asked for, once the variables are set."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """Variables to set before a runtime is loaded."""

    @property
    def name(self) -> str:
        """What the device is called among all processes of this machine, in letters, digits and hyphens."""
        return self.environment.get(CUDA_VISIBLE, f"{self.device.kind}-{self.device.index}")


def visible_part(machine: Machine, environment: Mapping[str, str]) -> Machine:
    """Return a machine with the accelerators that the variables of the runtimes leave, in their order.

    Whoever sets them means by `gpu:0` the first of those, as PaddleX does; NVML and the device files know nothing.

    Args:
        machine: What was detected.
        environment: Variables of this process.

    Raises:
        Refused: A number is given, and which GPU it means depends on which is the fastest.

    Source:
        CUDA C++ Programming Guide, "CUDA Environment Variables": the first name that is no device ends the list.
    """
    gpus, npus = machine.gpus, machine.npus
    if CUDA_VISIBLE in environment:
        names = [name.strip() for name in environment[CUDA_VISIBLE].split(",")]
        products = {gpu.product for gpu in gpus}
        if any(name.isdecimal() for name in names) and len(products) > 1 and environment.get(CUDA_ORDER) != BY_ADDRESS:
            raise Refused(
                f"{CUDA_VISIBLE}={environment[CUDA_VISIBLE]!r} counts GPUs of several kinds by their speed; set "
                f"{CUDA_ORDER}={BY_ADDRESS}, or name them by their UUIDs"
            )
        gpus = tuple(_named_gpus(names, gpus))
    if ASCEND_VISIBLE in environment:
        names = [name.strip() for name in environment[ASCEND_VISIBLE].split(",")]
        npus = tuple(replace(npu, index=place) for place, npu in enumerate(_named_npus(names, npus)))
    return replace(machine, gpus=gpus, npus=npus)


def access_to(device: Device, machine: Machine) -> DeviceAccess:
    """Return how a process comes to a device that the machine has.

    A GPU is chosen by its UUID and is then the only one, with the number 0: CUDA numbers GPUs by their speed, which is
    not how they were detected, and shows of a GPU in MIG mode one slice at most.

    Args:
        device: As the manifest asks; its number counts what can compute.
        machine: What was detected, as far as it is visible.
    """
    if device.kind == "npu":
        # The runtime counts faulty ones too.
        return DeviceAccess(replace(device, index=usable_npus(machine.npus)[device.index].index))
    if device.kind == "cpu":
        return DeviceAccess()
    uuid = gpu_parts(machine.gpus)[device.index].uuid
    if uuid is None:
        return DeviceAccess(device, {CUDA_ORDER: BY_ADDRESS})
    return DeviceAccess(replace(device, index=0), {CUDA_ORDER: BY_ADDRESS, CUDA_VISIBLE: uuid})


def _named_gpus(names: list[str], gpus: tuple[NvidiaGpu, ...]) -> Iterator[NvidiaGpu]:
    for name in names:
        found = _find_gpu(name, gpus)
        if found is None:
            return
        yield found


def _find_gpu(name: str, gpus: tuple[NvidiaGpu, ...]) -> NvidiaGpu | None:
    if name.isdecimal():
        return gpus[int(name)] if int(name) < len(gpus) else None
    for gpu in gpus:
        if name.startswith("GPU-") and (gpu.uuid or "").startswith(name):
            return gpu
        slices = tuple(one for one in gpu.mig_slices if name.startswith("MIG-") and one.uuid == name)
        if slices:
            return replace(gpu, mig_slices=slices)
    return None


def _named_npus(names: list[str], npus: tuple[AscendNpu, ...]) -> Iterator[AscendNpu]:
    for name in names:
        if not name.isdecimal() or int(name) >= len(npus):
            return
        yield npus[int(name)]
