"""The child process that holds one model in Paddle Inference; sole importer of paddle.

It runs in the environment that has paddle, which has little more than numpy beside it. Questions: `version`, `convert`,
`load`, `run`.
"""

from __future__ import annotations

import importlib.metadata
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from numpy.typing import NDArray

from hpi_agent.engines import paddle_tensorrt
from hpi_agent.engines.base import MAX_REASON_CHARACTERS
from hpi_agent.engines.paddle_configuration import check_device, configure, obtained
from hpi_agent.engines.paddle_signature import check_names, read_signature
from hpi_agent.processes.child_end import Answer, serve_frames
from hpi_agent.processes.frames import Frame
from hpi_agent.processes.shared_tensors import SharedTensors
from hpi_core.errors import Bug, EngineFailed, HpiError

DISTRIBUTIONS: Final = ("paddlepaddle", "paddlepaddle-gpu")


class Held:
    """The one model of this process."""

    def __init__(self) -> None:
        self._predictor: Any = None
        self._tensors: SharedTensors | None = None
        self._path = ""
        self._outputs: dict[str, str] = {}
        """The predictor's name of each declared output."""

    def version(self, _: Frame) -> Answer:
        """Say which paddle is installed here, without importing it."""
        return {"version": installed_version()}, []

    def load(self, frame: Frame) -> Answer:
        """Load the model that the header describes, and say what was obtained."""
        wanted = frame.header
        self._path = wanted["program"]
        self._tensors = SharedTensors(wanted["tensors_file"])
        paddle = import_paddle()
        check_device(paddle, wanted)
        try:
            inputs, outputs = read_signature(paddle, Path(wanted["program"]))
            config, named = self._create(paddle, wanted)
        except (EngineFailed, MemoryError, TypeError, AttributeError):
            # The last two are of ours: Paddle was called wrongly.
            raise
        except Exception as error:
            # Paddle raises RuntimeError, OSError, NotImplementedError and others out of its C++ enforcements.
            raise EngineFailed(
                f"paddle {paddle.__version__} cannot load {self._path}: {reason_of(error)}; "
                "export the model again with a version not newer than this one, or choose another backend"
            ) from error
        declared = [spec["name"] for spec in outputs]
        answering = declared
        if wanted["run_mode"] == "trt" and len(named[1]) == len(declared):
            # What was compiled is another program, which names its outputs anew, in the same order.
            answering, named = named[1], (named[0], declared)
        check_names(self._path, named, ([spec["name"] for spec in inputs], declared))
        self._outputs = dict(zip(declared, answering, strict=True))
        return {"inputs": inputs, "outputs": outputs, **self._obtained(paddle, config, wanted)}, []

    def convert(self, frame: Frame) -> Answer:
        """Compile the model that the header describes for TensorRT, and write the files into the folder it names."""
        wanted = frame.header
        self._path = wanted["program"]
        paddle = import_paddle()
        check_device(paddle, wanted)
        try:
            inputs, _ = read_signature(paddle, Path(wanted["program"]))
            paddle_tensorrt.convert(paddle, import_paddle_tensorrt, wanted, inputs)
        except (HpiError, MemoryError, TypeError, AttributeError):
            raise
        except Exception as error:
            raise EngineFailed(
                f"paddle {paddle.__version__} cannot compile {self._path} for TensorRT: {reason_of(error)}; "
                "choose run_mode 'paddle', or another backend"
            ) from error
        return {}, []

    def _create(self, paddle: Any, wanted: Mapping[str, Any]) -> tuple[Any, tuple[list[str], list[str]]]:
        program, weights = wanted["program"], wanted["weights"]
        if wanted["run_mode"] == "trt":
            program, weights = paddle_tensorrt.files_to_load(wanted)
        config = configure(paddle, wanted, program, weights)
        if wanted["run_mode"] == "trt":
            paddle_tensorrt.use_compiled(paddle, config, wanted)
        self._predictor = paddle.inference.create_predictor(config)
        return config, (list(self._predictor.get_input_names()), list(self._predictor.get_output_names()))

    def _obtained(self, paddle: Any, config: Any, wanted: Mapping[str, Any]) -> dict[str, Any]:
        found = obtained(paddle, config, wanted)
        if wanted["run_mode"] == "trt":
            found["device"] += f", {paddle_tensorrt.describe_placement(config, wanted)}"
        return found

    def run(self, frame: Frame) -> Answer:
        """Answer one set of tensors, over which the outputs are written."""
        if self._predictor is None or self._tensors is None:
            raise Bug("a model must be loaded before it is run")
        feeds = self._tensors.views(frame.header["tensors"])
        try:
            arrays = self._run(feeds)
        except MemoryError:
            raise
        except Exception as error:
            raise EngineFailed(f"paddle failed inside {self._path}: {reason_of(error)}") from error
        return {"tensors": self._tensors.write(arrays)}, []

    def _run(self, feeds: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        for name, array in feeds.items():
            handle = self._predictor.get_input_handle(name)
            handle.reshape(list(array.shape))
            handle.copy_from_cpu(array)
        self._predictor.run()
        return {
            declared: self._predictor.get_output_handle(name).copy_to_cpu() for declared, name in self._outputs.items()
        }


def installed_version() -> str | None:
    """Return the version of paddle in this environment, or None when it has none."""
    for name in DISTRIBUTIONS:
        try:
            return importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return None


def import_paddle() -> Any:
    """Import paddle.

    Raises:
        EngineFailed: It is not installed here, or its libraries do not load.
    """
    try:
        import paddle
        import paddle.inference
    except (ImportError, OSError) as error:
        raise EngineFailed(
            f"paddle cannot be imported by {sys.executable}: {error}; `hpi-agent install paddle2onnx` makes an "
            "environment that has it"
        ) from error
    return paddle


def import_paddle_tensorrt() -> Any:
    """Import the part of paddle that compiles for TensorRT.

    Raises:
        EngineFailed: This build does not have it, or TensorRT is not installed.
    """
    try:
        from paddle.tensorrt import export
    except (ImportError, OSError) as error:
        raise EngineFailed(
            f"paddle cannot compile for TensorRT here: {error}; install the TensorRT that this build of "
            "paddlepaddle-gpu was made with, or choose run_mode 'paddle'"
        ) from error
    return export


def reason_of(error: BaseException) -> str:
    """Return the line of an error of paddle that says what happened, at most 300 characters.

    Its messages may begin with a trace of the C++ stack; the line that matters begins with the kind of error, or ends
    with the place in its own sources.
    """
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    line = next((line for line in lines if _KIND_OF_ERROR.match(line) or "(at " in line), lines[0])
    return line if len(line) <= MAX_REASON_CHARACTERS else line[: MAX_REASON_CHARACTERS - 1] + "…"


_KIND_OF_ERROR: Final = re.compile(r"[A-Z]\w*Error: ")


def main(arguments: list[str]) -> None:
    """Answer the parent until it closes the channel."""
    held = Held()
    handlers = {"version": held.version, "convert": held.convert, "load": held.load, "run": held.run}
    serve_frames(handlers, arguments[0])


if __name__ == "__main__":
    main(sys.argv[1:])
