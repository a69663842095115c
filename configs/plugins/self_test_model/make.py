#!/usr/bin/env python3
"""Make the tiny model of `hpi-agent self-test` anew, in Paddle's format and as ONNX, and the answer that is expected.

    python make.py FOLDER

Runs inside the environment `paddle2onnx`. The model has a convolution, an activation, a mean, a matrix and a softmax;
weights and input follow from a formula, so that nothing of it has to be believed.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any, Final

import numpy as np

OPSET: Final = 17
SHAPE: Final = (1, 3, 16, 16)


def ramp(shape: tuple[int, ...], step: float) -> Any:
    """Return the sines of 0, step, 2 step and so on, in float32."""
    return np.sin(np.arange(int(np.prod(shape)), dtype=np.float64) * step).astype(np.float32).reshape(shape)


def save_model(folder: Path) -> None:
    """Write the model in Paddle's format."""
    import paddle

    class Tiny(paddle.nn.Layer):
        def __init__(self) -> None:
            super().__init__()
            self.convolution = paddle.nn.Conv2D(3, 4, 3, padding=1)
            self.linear = paddle.nn.Linear(4, 5)

        def forward(self, x: Any) -> Any:
            pooled = paddle.nn.functional.relu(self.convolution(x)).mean([2, 3])
            return paddle.nn.functional.softmax(self.linear(pooled))

    model = Tiny()
    for number, parameter in enumerate(model.parameters()):
        parameter.set_value(0.3 * ramp(tuple(parameter.shape), 0.7 + 0.3 * number))
    model.eval()
    spec = [paddle.static.InputSpec(list(SHAPE), "float32", "x")]
    paddle.jit.save(paddle.jit.to_static(model, input_spec=spec, full_graph=True), str(folder / "inference"))


def answer(folder: Path) -> Any:
    """Return what Paddle answers, without oneDNN."""
    import paddle.inference

    config = paddle.inference.Config(str(folder / "inference.json"), str(folder / "inference.pdiparams"))
    config.disable_gpu()
    config.disable_mkldnn()
    config.disable_glog_info()
    predictor = paddle.inference.create_predictor(config)
    predictor.get_input_handle("x").copy_from_cpu(ramp(SHAPE, 0.1))
    predictor.run()
    return predictor.get_output_handle(predictor.get_output_names()[0]).copy_to_cpu()


def main() -> None:
    """Write all files."""
    import paddle2onnx

    folder = Path(sys.argv[1])
    save_model(folder)
    files = [str(folder / name) for name in ("inference.json", "inference.pdiparams", "inference.onnx")]
    paddle2onnx.export(*files, opset_version=OPSET)
    expected = {"shape": SHAPE, "step": 0.1, "answer": [round(float(value), 8) for value in answer(folder)[0]]}
    (folder / "answer.json").write_text(json.dumps(expected) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
