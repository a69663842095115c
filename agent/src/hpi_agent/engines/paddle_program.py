"""The child process that holds one model in Paddle Inference; sole importer of paddle.

It runs in the environment that has paddle, which has little more than numpy beside it. Questions: `version`, `load`,
`run`.
"""

from __future__ import annotations

import importlib.metadata
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from numpy.typing import NDArray

from hpi_agent.engines.base import MAX_REASON_CHARACTERS
from hpi_agent.processes.child_end import Answer, serve_frames
from hpi_agent.processes.frames import Frame
from hpi_agent.processes.shared_tensors import SharedTensors
from hpi_core.errors import Bug, EngineFailed

DISTRIBUTIONS: Final = ("paddlepaddle", "paddlepaddle-gpu")
OPTIMIZATION_LEVEL: Final = 3
"""What PaddleX sets (paddlex 3.7.2, `paddle_static/runner.py`)."""

Spec = dict[str, Any]


class Held:
    """The one model of this process."""

    def __init__(self) -> None:
        self._predictor: Any = None
        self._tensors: SharedTensors | None = None
        self._path = ""
        self._outputs: list[str] = []

    def version(self, _: Frame) -> Answer:
        """Say which paddle is installed here, without importing it."""
        return {"version": installed_version()}, []

    def load(self, frame: Frame) -> Answer:
        """Load the model that the header describes, and say what was obtained."""
        wanted = frame.header
        self._path = wanted["program"]
        self._tensors = SharedTensors(wanted["tensors_file"])
        paddle = import_paddle()
        try:
            inputs, outputs = read_signature(paddle, Path(wanted["program"]))
            config = configure(paddle, wanted)
            self._predictor = paddle.inference.create_predictor(config)
            named = (list(self._predictor.get_input_names()), list(self._predictor.get_output_names()))
        except (EngineFailed, MemoryError):
            raise
        except Exception as error:
            # Paddle raises RuntimeError, OSError, NotImplementedError and others out of its C++ enforcements.
            raise EngineFailed(
                f"paddle {paddle.__version__} cannot load {self._path}: {reason_of(error)}; "
                "export the model again with a version not newer than this one, or choose another backend"
            ) from error
        self._outputs = [spec["name"] for spec in outputs]
        check_names(self._path, named, ([spec["name"] for spec in inputs], self._outputs))
        return {"inputs": inputs, "outputs": outputs, **obtained(paddle, config, wanted)}, []

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
        return {name: self._predictor.get_output_handle(name).copy_to_cpu() for name in self._outputs}


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


def configure(paddle: Any, wanted: Mapping[str, Any]) -> Any:
    """Return the configuration of a predictor, as PaddleX makes it for a CPU but for threads and cache."""
    config = paddle.inference.Config(wanted["program"], wanted["weights"])
    config.disable_glog_info()
    config.disable_gpu()
    if wanted["run_mode"] == "mkldnn":
        config.enable_mkldnn()
        if wanted["precision"] == "bfloat16":
            config.enable_mkldnn_bfloat16()
        config.set_mkldnn_cache_capacity(wanted["mkldnn_cache_capacity"])
    else:
        config.disable_mkldnn()
    config.set_cpu_math_library_num_threads(wanted["threads"])
    config.enable_new_ir(True)
    config.enable_new_executor()
    config.set_optimization_level(OPTIMIZATION_LEVEL)
    config.enable_memory_optim()
    return config


def obtained(paddle: Any, config: Any, wanted: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the predictor really uses.

    Raises:
        EngineFailed: oneDNN was asked for and is not there, or this processor has no fast bfloat16.
    """
    onednn = bool(config.mkldnn_enabled())
    if onednn != (wanted["run_mode"] == "mkldnn"):
        raise EngineFailed(
            f"paddle {paddle.__version__} was asked for run_mode {wanted['run_mode']!r} and has oneDNN "
            f"{'on' if onednn else 'off'}; choose run_mode 'paddle', or a build with oneDNN"
        )
    if wanted["precision"] == "bfloat16" and not paddle.base.core.supports_bfloat16():
        raise EngineFailed("this processor has no instructions that paddle computes bfloat16 with; choose float32")
    return {
        "version": paddle.__version__,
        "threads": int(config.cpu_math_library_num_threads()),
        "device": "CPU, oneDNN" if onednn else "CPU",
    }


def check_names(path: str, named: tuple[list[str], list[str]], declared: tuple[list[str], list[str]]) -> None:
    """Check that the predictor has the inputs and outputs that the program declares, each name once.

    Raises:
        EngineFailed: It has others, or an output is an input: Paddle loads such a program and fails when it runs
            (paddlepaddle 3.2.2).
    """
    inputs, outputs = declared
    twice = sorted(name for name in {*inputs, *outputs} if [*inputs, *outputs].count(name) > 1)
    if twice:
        raise EngineFailed(
            f"{path} uses the names {twice} for more than one input or output, which paddle cannot run; export the "
            "model with outputs that are computed, or choose another backend"
        )
    if tuple(map(sorted, named)) != tuple(map(sorted, declared)):
        raise EngineFailed(f"{path} declares {declared}, paddle loaded {named}; export the model again")


def read_signature(paddle: Any, program: Path) -> tuple[list[Spec], list[Spec]]:
    """Return inputs and outputs as the program declares them, in order, without its weights.

    The predictor knows names alone before its first run.

    Raises:
        EngineFailed: A tensor has a type that the predictor does not take or give, as int16 and bfloat16.
    """
    if program.suffix == ".json":
        return _signature_of_pir(paddle, program)
    return _signature_of_legacy(paddle, program)


def _signature_of_pir(paddle: Any, program: Path) -> tuple[list[Spec], list[Spec]]:
    read = paddle.static.Program()
    paddle.base.core.deserialize_pir_program(str(program), read)
    inputs, outputs = [], []
    for operation in read.global_block().ops:
        if operation.name() == "pd_op.data":
            value = operation.result(0)
            inputs.append(_spec(operation.attrs()["name"], value.shape, value.dtype))
        elif operation.name() == "pd_op.fetch":
            value = operation.operand_source(0)
            outputs.append((operation.attrs()["col"], _spec(operation.attrs()["name"], value.shape, value.dtype)))
    return inputs, [spec for _, spec in sorted(outputs, key=lambda output: int(output[0]))]


def _signature_of_legacy(paddle: Any, program: Path) -> tuple[list[Spec], list[Spec]]:
    # The block lies in the memory of its description, which Python would free after this line if nobody held it.
    description = paddle.base.core.ProgramDesc(program.read_bytes())
    block = description.block(0)
    found: dict[str, list[tuple[int, Spec]]] = {"feed": [], "fetch": []}
    for position in range(block.op_size()):
        operation = block.op(position)
        if operation.type() in found:
            [name] = operation.output("Out") if operation.type() == "feed" else operation.input("X")
            variable = block.find_var(name.encode())
            found[operation.type()].append((operation.attr("col"), _spec(name, variable.shape(), variable.dtype())))
    inputs, outputs = ([spec for _, spec in sorted(specs, key=lambda one: one[0])] for specs in found.values())
    return inputs, outputs


def _spec(name: str, shape: Any, dtype: Any) -> Spec:
    # `paddle.float32`, `DataType.FLOAT32`, `VarType.FP32`: each reader of programs has its own word.
    word = str(dtype).rpartition(".")[2].lower()
    numpy_name = {"fp16": "float16", "fp32": "float32", "fp64": "float64"}.get(word, word)
    if numpy_name not in KNOWN_TYPES:
        raise EngineFailed(
            f"tensor {name!r} has the type {word}, which paddle cannot take or give; "
            f"allowed: {', '.join(KNOWN_TYPES)}; export the model with another type"
        )
    return {"name": name, "dtype": numpy_name, "shape": [None if size < 0 else int(size) for size in shape]}


KNOWN_TYPES: Final = ("bool", "uint8", "int8", "int32", "int64", "float16", "float32", "float64")
"""Types that cross the predictor's door (`paddle.inference.DataType` of 3.2.2), bfloat16 left out: numpy has none."""


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
    serve_frames({"version": held.version, "load": held.load, "run": held.run}, arguments[0])


if __name__ == "__main__":
    main(sys.argv[1:])
