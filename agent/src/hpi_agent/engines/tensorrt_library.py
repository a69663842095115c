"""TensorRT as a library: its release, its log, its words. Sole importer of tensorrt.

Source:
    TensorRT Python API, "Core Concepts" and "Foundational Types", and the signatures of the bindings of 10.0.1 and
    10.16.1.11 (`tests/doubles/published`).
"""

from __future__ import annotations

import logging
from collections import deque
from functools import cache
from typing import Any, Final

from hpi_agent.engines.base import MAX_REASON_CHARACTERS
from hpi_core.errors import EngineFailed
from hpi_core.formats import DType

MAJOR: Final = "10"
"""The releases that this is written for. Those before have other calls; those after know strongly typed networks
alone, and so no float16 of a float32 model."""

DTYPES: Final[dict[str, DType]] = {
    "FLOAT": "float32",
    "HALF": "float16",
    "INT8": "int8",
    "INT32": "int32",
    "INT64": "int64",
    "BOOL": "bool",
    "UINT8": "uint8",
}
"""`DataType` of TensorRT, as far as numpy has the type."""

MAX_LINES: Final = 64
_LINES_TOLD: Final = 3

log: Final = logging.getLogger(__name__)


class Lines:
    """The errors that TensorRT has logged lately, whichever thread of it did."""

    def __init__(self) -> None:
        self._lines: deque[tuple[int, str]] = deque(maxlen=MAX_LINES)
        self._count = 0

    def note(self, line: str) -> None:
        """Keep one error."""
        self._count += 1
        self._lines.append((self._count, line))

    def mark(self) -> int:
        """Return a mark for `since`."""
        return self._count

    def since(self, mark: int) -> str:
        """Return the first errors after a mark, which name the cause, at most 300 characters."""
        lines = list(dict.fromkeys(line for number, line in list(self._lines) if number > mark))[:_LINES_TOLD]
        text = " | ".join(lines) or "it gave no reason"
        return text if len(text) <= MAX_REASON_CHARACTERS else text[: MAX_REASON_CHARACTERS - 1] + "…"


class TensorRt:
    """The library of this process.

    Attributes:
        module: `tensorrt` itself.
        logger: The only logger of the process: TensorRT keeps the first that it is given and warns of every other.
        lines: What it logged as errors.
    """

    def __init__(self, module: Any) -> None:
        self.module: Final = module
        self.lines: Final = Lines()
        self.logger: Final = _make_logger(module, self.lines)
        # Some operators of ONNX are plugins here; a plan that uses one cannot be read before.
        if not module.init_libnvinfer_plugins(self.logger, ""):
            raise EngineFailed(f"tensorrt {self.version} cannot load its plugins: {self.lines.since(0)}")

    @property
    def version(self) -> str:
        """The release, such as `10.13.3.9`."""
        return str(self.module.__version__)

    def make(self, kind: str) -> Any:
        """Return a new `Builder` or `Runtime`.

        Raises:
            EngineFailed: TensorRT cannot use the device.
        """
        mark = self.lines.mark()
        try:
            return getattr(self.module, kind)(self.logger)
        except (TypeError, RuntimeError) as error:
            # The bindings raise TypeError where the library returned nothing.
            raise EngineFailed(f"tensorrt {self.version} gives no {kind}: {self.lines.since(mark)}") from error


def load_tensorrt() -> TensorRt:
    """Return the library, imported at the first call.

    Raises:
        EngineFailed: It is another major release.
        ImportError: It is not installed.
    """
    import tensorrt

    version = str(tensorrt.__version__)
    if version.split(".")[0] != MAJOR:
        raise EngineFailed(
            f"tensorrt {version} is installed, this program is written for TensorRT {MAJOR}; install tensorrt-cu12 or "
            f"tensorrt-cu11 of a version from 10.0.1 to the last 10, or a plugin variant that has it"
        )
    return _library(tensorrt)


@cache
def _library(module: Any) -> TensorRt:
    return TensorRt(module)


def _make_logger(module: Any, lines: Lines) -> Any:
    severity = module.ILogger.Severity
    errors = (severity.INTERNAL_ERROR, severity.ERROR)

    class Logger(module.ILogger):  # type: ignore[misc]
        """Called from every thread of TensorRT."""

        def __init__(self) -> None:
            module.ILogger.__init__(self)

        def log(self, severity: Any, msg: str) -> None:
            """Keep errors for whoever failed; pass everything on as flow, for TensorRT warns at every turn."""
            line = " ".join(msg.split())
            if severity in errors:
                lines.note(line)
            log.debug("tensorrt says", extra={"severity": str(severity), "text": line})

    return Logger()
