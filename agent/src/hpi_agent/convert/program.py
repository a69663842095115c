"""The child that converts one model and checks it; sole importer of paddle2onnx and onnx.

It runs in the locked environment. Questions, one per step: `prepare`, `convert`, `load`, `check`. Nothing is fetched,
and nothing is written but the ONNX file and the scratch directory that the parent names.

The converter's own constant folding is left out: it takes 0.1 to 1.0 s a model, it is the part that calls pip, and the
runtimes fold when they load. Three rounds on resnet18, a CRNN and a DB detector showed no consistent gain from it.
"""

from __future__ import annotations

import contextlib
import io
import json
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from hpi_agent.convert.difference import difference
from hpi_agent.convert.reference import PaddleReference
from hpi_agent.convert.scale_patch import PATCH, patch_scales
from hpi_agent.convert.shapes import noise
from hpi_agent.convert.tensor_names import order_values, paired, rename_tensors
from hpi_agent.engines.base import EngineRequest, Session
from hpi_agent.engines.onnx_file import read_onnx
from hpi_agent.engines.onnxruntime import OnnxRuntimeSession
from hpi_agent.models.paddle_files import WEIGHTS, read_pir_program
from hpi_agent.processes.child_end import Answer, serve_frames
from hpi_agent.processes.frames import Frame
from hpi_core.errors import Bug, EngineFailed, HpiError, SourceFailed

MAX_REASON_CHARACTERS: Final = 500


class Conversion:
    """The one model of this process."""

    def __init__(self) -> None:
        self._program = Path()
        self._reference: PaddleReference | None = None
        self._session: Session | None = None

    def prepare(self, frame: Frame) -> Answer:
        """Copy the program into the scratch directory, patched where it needs it, beside a link to the weights."""
        source, scratch = Path(frame.header["program"]), Path(frame.header["scratch"])
        self._program = scratch / source.name
        try:
            changed = copy_program(source, self._program)
            (scratch / WEIGHTS).symlink_to(Path(frame.header["weights"]).absolute())
        except OSError as error:
            raise SourceFailed(f"preparing: {error.strerror} ({error.filename})") from error
        return {"patches": {PATCH: changed} if changed else {}}, []

    def convert(self, frame: Frame) -> Answer:
        """Write the ONNX file, with Paddle's names in Paddle's order."""
        import onnx

        reference = self._paddle(frame.header["threads"])
        data = export(self._program, self._program.with_name(WEIGHTS), frame.header["opset"])
        try:
            model: Any = onnx.load_from_string(data)
            graph = model.graph
            inputs = paired("inputs", [spec.name for spec in reference.inputs], [value.name for value in graph.input])
            outputs = paired(
                "outputs", [spec.name for spec in reference.outputs], [value.name for value in graph.output]
            )
            rename_tensors(graph, {theirs: ours for ours, theirs in (*inputs.items(), *outputs.items())})
            order_values(graph.input, list(inputs))
            order_values(graph.output, list(outputs))
            onnx.checker.check_model(model)
            Path(frame.header["onnx"]).write_bytes(model.SerializeToString())
        except (HpiError, MemoryError):
            raise
        except Exception as error:
            raise EngineFailed(f"converting: what paddle2onnx wrote is no sound ONNX: {_short(str(error))}") from error
        return {
            "opset": max(entry.version for entry in model.opset_import if not entry.domain),
            "nodes": len(graph.node),
            "operators": sorted({node.op_type for node in graph.node}),
            "inputs": inputs,
            "outputs": outputs,
        }, []

    def load(self, frame: Frame) -> Answer:
        """Load both sides; what keeps the ONNX file from being compared is an answer, not an error."""
        reference = self._paddle(frame.header["threads"])
        try:
            path = Path(frame.header["onnx"])
            request = EngineRequest(path, "onnxruntime", threads=frame.header["threads"])
            self._session = OnnxRuntimeSession(request, read_onnx(path))
            self._inputs = paired("inputs", *_names(reference.inputs, self._session.inputs))
            self._outputs = paired("outputs", *_names(reference.outputs, self._session.outputs))
        except (EngineFailed, Bug) as error:
            return {"unusable": str(error)}, []
        return {"unusable": None, "inputs": self._inputs, "outputs": self._outputs}, []

    def check(self, frame: Frame) -> Answer:
        """Run both sides on noise of one set of shapes and return the difference of every output."""
        if self._session is None or self._reference is None:
            raise Bug("both sides must be loaded before they are compared")
        shapes = {name: tuple(shape) for name, shape in frame.header["shapes"].items()}
        feeds = noise(self._reference.inputs, shapes)
        wanted = self._reference.run(feeds)
        try:
            seen = self._session.run({self._inputs[name]: array for name, array in feeds.items()})
        except EngineFailed as error:
            return {"differences": {name: str(error) for name in wanted}}, []
        answers = dict(zip((spec.name for spec in self._session.outputs), seen, strict=True))
        return {
            "differences": {name: difference(answers[self._outputs[name]], array) for name, array in wanted.items()}
        }, []

    def _paddle(self, threads: int) -> PaddleReference:
        if self._reference is None:
            self._reference = PaddleReference(self._program, self._program.with_name(WEIGHTS), threads)
        return self._reference


def copy_program(source: Path, target: Path) -> int:
    """Copy a program, patched where it needs it, and return how many numbers the patch changed."""
    changed = 0
    if source.suffix == ".json":
        document = read_pir_program(source)
        changed = patch_scales(document)
        if changed:
            target.write_text(json.dumps(document), encoding="utf-8")
    if not changed:
        shutil.copyfile(source, target)
    return changed


def export(program: Path, weights: Path, opset: int) -> bytes:
    """Return the ONNX file that paddle2onnx makes of a model.

    Args:
        program: Program file, in a directory that may be written: legacy programs are translated first.
        weights: Weights file.
        opset: Version of the operators; the converter raises it where an operator needs a later one.

    Raises:
        EngineFailed: The converter cannot convert the model.
    """
    import paddle2onnx

    said = io.StringIO()
    try:
        # The converter prints why it failed and raises an error that does not say it.
        with contextlib.redirect_stdout(said):
            data: bytes = paddle2onnx.export(str(program), str(weights), opset_version=opset, optimize_tool="None")
    except MemoryError:
        raise
    except Exception as error:
        reason = reason_of(said.getvalue()) or str(error)
        raise EngineFailed(
            f"converting: paddle2onnx {paddle2onnx.__version__} cannot convert {program.name}: {reason}; choose the "
            "backend paddle for this model"
        ) from error
    finally:
        sys.stderr.write(said.getvalue())
    return data


def reason_of(said: str) -> str:
    """Return what the converter says of a failure, at most 500 characters; empty when it says nothing."""
    plain = said.replace("\x1b[0m", "")
    _, marker, told = plain.partition("Failed to convert PaddlePaddle model: ")
    lines = [line.strip() for line in (told if marker else plain).splitlines() if line.strip()]
    # An error of Paddle begins with a trace; the line that matters ends with its place in the sources.
    placed = [line for line in lines if "(at " in line]
    if placed:
        return _short(placed[0])
    return _short(lines[0 if marker else -1]) if lines else ""


def _short(text: str) -> str:
    return text if len(text) <= MAX_REASON_CHARACTERS else text[: MAX_REASON_CHARACTERS - 1] + "…"


def _names(ours: Any, theirs: Any) -> tuple[list[str], list[str]]:
    return [spec.name for spec in ours], [spec.name for spec in theirs]


def main(arguments: list[str]) -> None:
    """Answer the parent until it closes the channel."""
    conversion = Conversion()
    handlers: Mapping[str, Any] = {
        "prepare": conversion.prepare,
        "convert": conversion.convert,
        "load": conversion.load,
        "check": conversion.check,
    }
    serve_frames(handlers, arguments[0])


if __name__ == "__main__":
    main(sys.argv[1:])
