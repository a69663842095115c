#!/usr/bin/env python3
"""Self-test of the variant `paddle2onnx`: build a tiny model, run it, convert it, run the ONNX file, compare.

    python -I paddle2onnx_self_test.py REPORT

Runs inside the new environment and needs nothing else. The report is one JSON object; exit status 0 means passed.
"""

from __future__ import annotations

import importlib
import json
import sys
import tempfile
from pathlib import Path
from typing import Any, Final

import numpy as np

OPSET: Final = 17
SHAPES: Final = ((1, 3, 16, 16), (3, 3, 24, 8))
"""Batch, channels, height and width of the inputs; all but the channels are free in the model."""
TOLERANCE: Final = 1e-4
"""Most that max |a − b| / max |a| may be. Float32 on both sides; 1e-7 was measured (x86_64, 2026-11-21)."""
NEEDED_WHILE_CONVERTING: Final = ("onnx_graphsurgeon", "sympy", "onnxruntime.tools.symbolic_shape_infer")
"""What the converter imports late; where one is missing it starts pip, or leaves a part of its work out."""


def save_model(folder: Path) -> None:
    """Write a small network with a convolution, an activation that opset 17 has, and a softmax."""
    import paddle

    class Tiny(paddle.nn.Layer):
        def __init__(self) -> None:
            super().__init__()
            self.convolution = paddle.nn.Conv2D(3, 4, 3, padding=1)
            self.linear = paddle.nn.Linear(4, 5)

        def forward(self, x: Any) -> Any:
            pooled = paddle.nn.functional.hardswish(self.convolution(x)).mean([2, 3])
            return paddle.nn.functional.softmax(self.linear(pooled))

    paddle.seed(20)
    model = Tiny()
    model.eval()
    spec = [paddle.static.InputSpec([None, 3, None, None], "float32", "x")]
    paddle.jit.save(paddle.jit.to_static(model, input_spec=spec, full_graph=True), str(folder / "inference"))


def run_paddle(folder: Path, inputs: list[Any]) -> list[Any]:
    """Return what Paddle Inference answers, without oneDNN."""
    import paddle.inference

    config = paddle.inference.Config(str(folder / "inference.json"), str(folder / "inference.pdiparams"))
    config.disable_gpu()
    config.disable_mkldnn()
    config.disable_glog_info()
    config.set_cpu_math_library_num_threads(1)
    predictor = paddle.inference.create_predictor(config)
    [entrance], [exit_] = predictor.get_input_names(), predictor.get_output_names()
    answers = []
    for x in inputs:
        predictor.get_input_handle(entrance).copy_from_cpu(x)
        predictor.run()
        answers.append(predictor.get_output_handle(exit_).copy_to_cpu())
    return answers


def convert(folder: Path) -> Path:
    """Return the ONNX file made of the model."""
    import paddle2onnx

    target = folder / "inference.onnx"
    program, weights = folder / "inference.json", folder / "inference.pdiparams"
    paddle2onnx.export(str(program), str(weights), str(target), opset_version=OPSET)
    return target


def run_onnx(file: Path, inputs: list[Any]) -> list[Any]:
    """Return what ONNX Runtime answers, after it was seen that the file has the opset that was asked for."""
    import onnx
    import onnxruntime

    opsets = {entry.domain: entry.version for entry in onnx.load(str(file)).opset_import}
    if opsets.get("") != OPSET:
        raise SystemExit(f"asked for opset {OPSET}, got {opsets}")
    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    return [session.run(None, {"x": x})[0] for x in inputs]


def main() -> None:
    """Run the test and write the report.

    Raises:
        SystemExit: It failed; the text says what.
    """
    for module in NEEDED_WHILE_CONVERTING:
        importlib.import_module(module)
    generator = np.random.default_rng(20)
    inputs = [generator.standard_normal(shape).astype(np.float32) for shape in SHAPES]
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        save_model(folder)
        expected = run_paddle(folder, inputs)
        obtained = run_onnx(convert(folder), inputs)
    differences = [float(np.abs(a - b).max() / np.abs(a).max()) for a, b in zip(expected, obtained, strict=True)]
    # Written so that a NaN fails as well.
    if not all(difference <= TOLERANCE for difference in differences):
        raise SystemExit(f"the converted model differs from Paddle by {differences}; at most {TOLERANCE} is allowed")
    report = {"largestDifference": max(differences), "shapes": SHAPES, "opset": OPSET}
    Path(sys.argv[1]).write_text(json.dumps(report))


if __name__ == "__main__":
    main()
