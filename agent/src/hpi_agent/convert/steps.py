"""The steps of a conversion, asked of a child one after the other within one limit of time."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Final

from hpi_agent.convert.shapes import Shapes
from hpi_agent.models.paddle_files import PaddleModel
from hpi_agent.plugins.environment import PluginEnvironment
from hpi_agent.processes.child import Child, ChildFailed
from hpi_agent.processes.interpreter import command_for

MODULE: Final = "hpi_agent.convert.program"
ERROR_MARK: Final = "[ERROR][Paddle2ONNX]"
MAX_SAID_CHARACTERS: Final = 300
MIN_SECONDS: Final = 0.1
"""A step that begins at the very end of the time still gets so much, and then fails as one that took too long."""

Say = Callable[[str], None]
"""Is told of every step as it begins."""


@dataclass(frozen=True)
class Limits:
    """What one conversion may use."""

    seconds: float = 300.0
    """For all steps together."""
    memory_bytes: int = 8 * 2**30
    """Resident memory of the child and its descendants."""
    threads: int = 1
    """Threads of Paddle and of ONNX Runtime while they are compared."""


@dataclass(frozen=True)
class Check:
    """One set of shapes on which the ONNX file was compared with Paddle."""

    shapes: Mapping[str, tuple[int, ...]]
    differences: Mapping[str, float | str]
    """max |a - b| / max |reference| by output, or in words why the two cannot be compared."""

    def exceeds(self, tolerance: float) -> bool:
        """Whether any output differs by more, or cannot be compared."""
        return any(isinstance(value, str) or value > tolerance for value in self.differences.values())

    def to_json(self) -> dict[str, Any]:
        """Return the check as JSON types."""
        shapes = {name: list(shape) for name, shape in self.shapes.items()}
        return {"shapes": shapes, "differences": dict(self.differences)}

    @classmethod
    def from_json(cls, written: Mapping[str, Any]) -> Check:
        """Return the check that `to_json` wrote."""
        return cls({name: tuple(shape) for name, shape in written["shapes"].items()}, dict(written["differences"]))

    def __str__(self) -> str:
        shapes = ", ".join(f"{name} {'x'.join(map(str, shape))}" for name, shape in self.shapes.items())
        said = (
            f"{name} {value:.2g}" if isinstance(value, float) else f"{name}: {value}"
            for name, value in self.differences.items()
        )
        return f"at {shapes}: {', '.join(said)}"


class Steps:
    """One child and the steps it is asked for."""

    def __init__(
        self, model: PaddleModel, environment: PluginEnvironment, scratch: Path, limits: Limits, say: Say
    ) -> None:
        """Start the child.

        Args:
            model: The model in Paddle's format; its directory is never written.
            environment: The locked environment.
            scratch: An empty directory; everything that is written is written there.
            limits: What the child may use.
            say: Is told of every step as it begins.

        Raises:
            ChildFailed: The interpreter of the environment cannot be started.
        """
        self._model, self._scratch, self._limits, self._say = model, scratch, limits, say
        self._deadline = time.monotonic() + limits.seconds
        self._child = Child.start(
            command_for(MODULE, interpreter=environment.python),
            memory_bytes=limits.memory_bytes,
            environment={
                # Paddle and the converter keep caches and temporary files; all of it goes when the scratch goes.
                "HOME": str(scratch),
                "TMPDIR": str(scratch),
                "XDG_CACHE_HOME": str(scratch),
                "OMP_NUM_THREADS": str(limits.threads),
                "GLOG_minloglevel": "2",
                # Nothing is fetched, whatever the converter's libraries would like to install.
                "POLYGRAPHY_AUTOINSTALL_DEPS": "0",
                "PIP_NO_INDEX": "1",
            },
            name=f"the conversion of {model.program}",
        )

    def prepare(self) -> dict[str, int]:
        """Let the program be copied and patched; return how many numbers each patch changed."""
        header = {
            "program": str(self._model.program.absolute()),
            "weights": str(self._model.weights.absolute()),
            "scratch": str(self._scratch),
        }
        patches: dict[str, int] = self._ask("prepare", "preparing the program", header)["patches"]
        return patches

    def convert(self, onnx: Path, opset: int) -> dict[str, Any]:
        """Let the ONNX file be written; return what is known of it."""
        return self._ask("convert", f"converting with opset {opset}", {"onnx": str(onnx), "opset": opset})

    def compare(self, onnx: Path, shapes: Sequence[Shapes]) -> tuple[list[Check], str | None]:
        """Let an ONNX file be compared with Paddle; return the checks, and why there are none if there are none."""
        unusable: str | None = self._ask("load", "loading both sides", {"onnx": str(onnx)})["unusable"]
        if unusable is not None:
            return [], unusable
        checks = []
        for position, one in enumerate(shapes, start=1):
            written = {name: list(shape) for name, shape in one.items()}
            doing = f"checking against Paddle, shapes {position} of {len(shapes)}: {written}"
            differences = self._ask("check", doing, {"shapes": written})["differences"]
            checks.append(Check({name: tuple(shape) for name, shape in one.items()}, differences))
        return checks, None

    @property
    def peak_memory_bytes(self) -> int:
        """Most that the child took so far."""
        return self._child.peak_memory_bytes

    def __enter__(self) -> Steps:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._child.close()

    def _ask(self, kind: str, doing: str, header: Mapping[str, Any]) -> dict[str, Any]:
        self._say(doing)
        left = max(MIN_SECONDS, self._deadline - time.monotonic())
        asked = {"kind": kind, "threads": self._limits.threads, **header}
        try:
            return self._child.ask(asked, timeout_seconds=left).header
        except ChildFailed as error:
            said = converter_error(self._child.output)
            if said is None:
                raise
            raise ChildFailed(f"{doing}: paddle2onnx said {said!r}; {error}", error.cause) from error


def converter_error(output: str) -> str | None:
    """Return the last error that the converter wrote before it aborted its process, or None."""
    lines = [line.split(ERROR_MARK, 1)[1].strip() for line in output.splitlines() if ERROR_MARK in line]
    return lines[-1][:MAX_SAID_CHARACTERS] if lines else None
