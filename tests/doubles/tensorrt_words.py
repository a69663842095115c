"""Enumerations and base classes of the double of TensorRT, by the published names."""

from __future__ import annotations

from enum import IntEnum
from typing import Any, Final

from doubles.gpus import MACHINE

VERSION: Final = "10.13.3.9"


class ProcessEnds(BaseException):
    """Where TensorRT itself would end the process, or write over memory that is not its own. Nothing may catch it."""


class DataType(IntEnum):
    """Types of tensors."""

    FLOAT = 0
    HALF = 1
    INT8 = 2
    INT32 = 3
    BOOL = 4
    UINT8 = 5
    FP8 = 6
    BF16 = 7
    INT64 = 8
    INT4 = 9


ONNX_TYPES: Final = {
    1: DataType.FLOAT,
    2: DataType.UINT8,
    3: DataType.INT8,
    6: DataType.INT32,
    7: DataType.INT64,
    9: DataType.BOOL,
    10: DataType.HALF,
    # Read as float32 without a word, which is what an engine has to prevent.
    11: DataType.FLOAT,
    16: DataType.BF16,
    17: DataType.FP8,
}
NUMPY_TYPES: Final = {
    DataType.FLOAT: "float32",
    DataType.HALF: "float16",
    DataType.INT8: "int8",
    DataType.INT32: "int32",
    DataType.INT64: "int64",
    DataType.BOOL: "bool",
    DataType.UINT8: "uint8",
}


class BuilderFlag(IntEnum):
    """What a build may do."""

    FP16 = 0
    INT8 = 1
    TF32 = 6
    VERSION_COMPATIBLE = 13
    FP8 = 15
    BF16 = 17


class NetworkDefinitionCreationFlag(IntEnum):
    """Kinds of network."""

    EXPLICIT_BATCH = 0
    STRONGLY_TYPED = 1


class MemoryPoolType(IntEnum):
    """Memory that can be bounded."""

    WORKSPACE = 0


class HardwareCompatibilityLevel(IntEnum):
    """Other devices that a plan may be for."""

    NONE = 0
    AMPERE_PLUS = 1


class TensorIOMode(IntEnum):
    """Direction of a tensor."""

    NONE = 0
    INPUT = 1
    OUTPUT = 2


class TensorLocation(IntEnum):
    """Where a tensor lies."""

    DEVICE = 0
    HOST = 1


class LayerType(IntEnum):
    """Kinds of layer."""

    CONVOLUTION = 0
    CAST = 1
    ELEMENTWISE = 9
    SHAPE = 23
    QUANTIZE = 32
    DEQUANTIZE = 33


class ExecutionContextAllocationStrategy(IntEnum):
    """When a context takes its memory."""

    STATIC = 0


class Dims(tuple[int, ...]):
    """A shape."""


class _Based:
    """A class that a program derives from, as the bindings want it."""

    _begun = False

    def __init__(self) -> None:
        self._begun = True


class ILogger(_Based):
    """Takes what TensorRT says."""

    class Severity(IntEnum):
        """How bad it is."""

        INTERNAL_ERROR = 0
        ERROR = 1
        WARNING = 2
        INFO = 3
        VERBOSE = 4

    def log(self, severity: ILogger.Severity, msg: str) -> None:
        raise NotImplementedError


class IProgressMonitor(_Based):
    """Is told how far a build is."""

    def phase_start(self, phase_name: str, parent_phase: str, num_steps: int) -> None:
        raise NotImplementedError

    def step_complete(self, phase_name: str, step: int) -> bool:
        raise NotImplementedError

    def phase_finish(self, phase_name: str) -> None:
        raise NotImplementedError


class IOutputAllocator(_Based):
    """Gives memory for outputs whose size only the values decide; the bindings look its methods up by name."""


class IHostMemory(bytes):
    """Bytes that TensorRT made."""

    @property
    def nbytes(self) -> int:
        return len(self)


def checked(given: Any, kind: type[Any], where: str) -> Any:
    """Return an argument of the type that the bindings convert, and fail as they do for another.

    Raises:
        TypeError: It is another, or derived from a base that was not begun.
    """
    if not isinstance(given, kind):
        raise TypeError(f"{where}(): incompatible function arguments: {kind.__name__} is wanted, got {given!r}")
    if isinstance(given, _Based) and not given._begun:
        raise TypeError(f"{kind.__name__}.__init__() must be called when overriding __init__")
    return given


def error(logger: Any, text: str) -> None:
    """Have a logger told of an error."""
    logger.log(ILogger.Severity.ERROR, text)


def has_device() -> bool:
    """Return whether there is a device to use."""
    return MACHINE.driver and bool(MACHINE.gpus)


def init_libnvinfer_plugins(logger: ILogger, namespace: str) -> bool:
    checked(logger, ILogger, "init_libnvinfer_plugins")
    return bool(checked(namespace, str, "init_libnvinfer_plugins") == "")
